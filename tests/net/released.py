"""The released weights' names and shapes, written out from the architecture's tables, apart from the code under test."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]

MIXED = {  # in, a, b, c, d, e, f
    "base2.0": (192, 64, 96, 128, 16, 32, 32),
    "base2.1": (256, 128, 128, 192, 32, 96, 64),
    "base3.0": (480, 192, 96, 208, 16, 48, 64),
    "base3.1": (512, 160, 112, 224, 24, 64, 64),
    "base3.2": (512, 128, 128, 256, 24, 64, 64),
    "base3.3": (512, 112, 144, 288, 32, 64, 64),
    "base3.4": (528, 256, 160, 320, 32, 128, 128),
    "base4.0": (832, 256, 160, 320, 32, 128, 128),
    "base4.1": (832, 384, 192, 384, 48, 128, 128),
}


def norm(name: str, channels: int) -> Shapes:
    shapes: Shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def basic(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.conv.weight": (outputs, inputs, 1, 1, 1)} | norm(f"{name}.bn", outputs)


def separable(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    return (
        {f"{name}.conv_s.weight": (outputs, inputs, 1, kernel, kernel)}
        | norm(f"{name}.bn_s", outputs)
        | {f"{name}.conv_t.weight": (outputs, outputs, kernel, 1, 1)}
        | norm(f"{name}.bn_t", outputs)
    )


def encoder() -> Shapes:
    shapes = separable("base1.0", 3, 64, 7) | basic("base1.2", 64, 64) | separable("base1.3", 64, 192, 3)
    for name, (inputs, a, b, c, d, e, f) in MIXED.items():
        shapes |= basic(f"{name}.branch0.0", inputs, a)
        shapes |= basic(f"{name}.branch1.0", inputs, b) | separable(f"{name}.branch1.1", b, c, 3)
        shapes |= basic(f"{name}.branch2.0", inputs, d) | separable(f"{name}.branch2.1", d, e, 3)
        shapes |= basic(f"{name}.branch3.1", inputs, f)
    return shapes


def updated_head() -> Shapes:
    shapes: Shapes = {}
    for name, weight, channels in (
        ("convtsp1.0", (1024, 1024, 1, 1, 1), 1024),
        ("convtsp1.3", (1024, 832, 1, 3, 3), 832),
        ("convtsp2.0", (832, 480, 1, 3, 3), 480),
        ("convtsp3.0", (480, 192, 1, 3, 3), 192),
        ("convtsp4.0", (192, 64, 1, 4, 4), 64),
        ("convtsp4.3", (64, 64, 2, 1, 1), 64),
        ("convtsp4.6", (64, 4, 1, 1, 1), 4),
        ("convtsp4.9", (4, 4, 2, 1, 1), 4),
    ):
        block, index = name.split(".")
        shapes[f"{name}.weight"] = weight
        shapes |= norm(f"{block}.{int(index) + 1}", channels)
    return shapes | {
        "convtsp4.12.weight": (4, 4, 1, 4, 4),
        "convtsp4.13.weight": (1, 4, 1, 1, 1),
        "convtsp4.13.bias": (1,),
    }


def released() -> Shapes:
    """All of TASED-Net as released in its updated form, T = 32."""
    return encoder() | updated_head()
