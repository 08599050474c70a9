# SPDX-License-Identifier: Apache-2.0
"""The node daemon's settings: what there is to set, where it is set, and what its values may be.

flaxd works by them; `linenctl` judges with them what it writes into a cluster's ConfigMap.

- `table`: all settings with their defaults and helps, and how they are put together from the
  command line, the environment and a file.
- `parsers`: what single values may be. Of the overlay's, which plugin and daemon have to agree on,
  the plugin's own parsers decide.
"""
