/* SPDX-License-Identifier: Apache-2.0 */
/* The image: the memory of a Python that has been started and has imported the plugin.
 *
 * build.py links the program without an image and runs it once; then it makes one
 * and ends (interpreter.c). build.py puts it into the program, and from then on each
 * call of the program wakes the Python in it. All that Python writes to is in one
 * section (image.ld), and what it allocates meanwhile too (memory.c).
 */
#ifndef LINEN_IMAGE_H
#define LINEN_IMAGE_H

enum image_state {
    IMAGE_ABSENT,   /* until main() */
    IMAGE_BEGUN,    /* Python is being started */
    IMAGE_COMPLETE, /* in the finished program, from the beginning */
};

extern enum image_state image_state;
extern char image_begin[], image_end[];

#define IMAGE_FILE "image" /* in the working directory, of build.py */

/* Start Python, import the plugin, write the image to IMAGE_FILE: the exit status. */
int make_image(void);

/* Wake the Python of the image, run the plugin once: the exit status. */
int run_plugin(void);

/* The answer when Python could not do its part: CNI's error object on standard
 * output, the exit status 1. */
int fail(const char *details);

#endif
