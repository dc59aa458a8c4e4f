"""Build stacks of networks from their specs, as `training.prepare` does."""

from byrote.engine import stack


def stack_of(network, input_shape, num_outputs, generators, **options):
    """Build a stack of runs of `network`; each generator initializes one run."""
    modules = [network.build(input_shape, num_outputs, generator) for generator in generators]
    return stack(modules, input_shape, fuse=network.layers_only, **options)
