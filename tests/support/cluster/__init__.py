# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster on one machine: each kubelet, with containerd, in its own namespaces.

`images` are the containers' images, `fabric` is the network between the nodes, `node` a node,
`cluster` all of it.
"""
