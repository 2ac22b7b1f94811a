# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernels of a decoder, a folder for each kind of device.

Each has the same two modules: `ops`, the operations of which `mlc.decoder` is made, and
`layout`, how the weights lie in memory, for which no TVM is needed.
"""
