"""Weights and gradients from and to other packages.

`dynamoe.interop.torch`: a layer as a PyTorch module, and weights from and to ``torch.nn.Linear``.
`dynamoe.interop.mixtral`: blocks of Mixtral checkpoints, without PyTorch.

Neither is imported by ``import dynamoe``.
"""
