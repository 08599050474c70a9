# SPDX-License-Identifier: Apache-2.0
"""Linen on a whole cluster, from an administrator's machine: the cluster, reached by kubectl.

What happens on each node is flaxd's work.

- `kubectl`: the program, with one cluster.
- `manifests`: what is applied to it, rendered for it.
- `stages`: applied, waited for, and taken off again.
- `errors`: what `linenctl` cannot do there.
"""
