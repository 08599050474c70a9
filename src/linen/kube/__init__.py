# SPDX-License-Identifier: Apache-2.0
"""Kubernetes as the node daemon needs it: its Nodes, watched; its own Node, annotated.

- `access`: where the API server is and who we are; from a pod's own files, or from a kubeconfig.
- `client`: HTTP requests with that, each with a deadline, their failures as `errors`.
- `transport`: what these are sent and answered over.
- `nodes`: Node objects into values, whatever they may contain; pure.
- `account`: whether the service account is still there: its end takes Linen off.
- `objects`: parts of JSON that may be missing or be something else.
- `patches`: what is written to the own Node; pure.
- `watch`: a replica of the cluster's Nodes that is kept up to date.
- `events`: what an administrator should see in `kubectl describe node`.
"""
