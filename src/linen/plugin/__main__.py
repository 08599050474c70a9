# SPDX-License-Identifier: Apache-2.0
"""Run the plugin: `python -m linen.plugin`. The one-file build calls `run` by itself."""

import posix

from linen.plugin.main import run

# Ends at once: taking the interpreter down in good order would cost more than an ADD.
posix._exit(run())  # noqa: SLF001
