"""Pixels and depth reach encoders as they should, and cameras go where they belong."""

from functools import partial

import pytest
import torch

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.spec import ArraySpec
from robot_learning.nn.cameras import Cameras
from robot_learning.nn.resnet import ResNetEncoder
from robot_learning.nn.vision import ConvEncoder, random_shift, spatial_softmax

SPECS = {
    "static_rgb": ArraySpec((24, 32, 3), "uint8"),
    "static_depth": ArraySpec((24, 32, 1), "uint16", "mm"),
    "wrist_rgb": ArraySpec((24, 24, 3), "uint8"),
    "gripper": ArraySpec((1,)),
}
PAIR = {"static_rgb": "static_depth"}
BOTH = ("static_rgb", "static_depth", "wrist_rgb", "gripper")


def images(*keys, batch=2, steps=3):
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.randint(0, 255, (batch, steps, *SPECS[key].shape), generator=generator).to(getattr(torch, SPECS[key].dtype))
        for key in keys
    }


def test_spatial_softmax_finds_the_peak():
    maps = torch.zeros(1, 1, 5, 9)
    maps[0, 0, 1, 6] = 50.0
    torch.testing.assert_close(spatial_softmax(maps), torch.tensor([[0.5, -0.5]]), atol=1e-4, rtol=0)


def test_a_shift_moves_the_whole_image():
    images = torch.arange(2 * 1 * 8 * 8).float().view(2, 1, 8, 8)
    moved = random_shift(images, 2, torch.Generator().manual_seed(3))
    for before, after in zip(images[:, 0], moved[:, 0], strict=True):
        step = after[4, 4] - before[4, 4]
        dy, dx = divmod(int(step) + 4, 8)
        dx -= 4
        torch.testing.assert_close(after[3:5, 3:5], before[3 + dy : 5 + dy, 3 + dx : 5 + dx])


@pytest.mark.parametrize("kind", [ConvEncoder, partial(ResNetEncoder, stages=3)])
@pytest.mark.parametrize("inputs", [3, 4, 1])
def test_images_become_vectors_and_training_shifts_them(kind, inputs):
    torch.manual_seed(0)
    encoder = kind(inputs, 12)
    seen = images("static_rgb" if inputs > 1 else "static_depth")
    colours = next(iter(seen.values())).flatten(0, 1)
    depth = images("static_depth")["static_depth"].flatten(0, 1) if inputs == 4 else None
    assert encoder(colours, depth=depth).shape == (6, encoder.size) == (6, 12)
    assert not torch.allclose(encoder(colours, depth=depth), encoder(colours, torch.Generator().manual_seed(1), depth))
    assert encoder.cells(colours, depth=depth).shape[:2] == (6, encoder.cell_size)


def test_a_map_of_one_cell_is_refused():
    """After four stages a cell sees 32 x 32 pixels: a spatial softmax has nothing to choose from."""
    with pytest.raises(ConfigError, match="larger ones or fewer stages"):
        ResNetEncoder()(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert ResNetEncoder()(torch.zeros(1, 33, 32, 3, dtype=torch.uint8)).shape == (1, 64)


def test_a_resnet_encoder_is_the_trunk_and_a_projection():
    """torchvision's resnet18 has 11,689,512 parameters, 513,000 of them in its classifier, which a projection replaces."""
    count = sum(weight.numel() for weight in ResNetEncoder(3, 64).parameters())
    assert count == 11_689_512 - 513_000 + (2 * 512 * 64 + 64 + 2 * 64)
    assert sum(weight.numel() for weight in ResNetEncoder(4, None).parameters()) == 11_689_512 - 513_000 + 64 * 7 * 7


def test_colour_and_depth_are_scaled_and_shifted_together():
    encoder = ConvEncoder(4, far=2.0, shift=3)
    colours = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 8, 8, 3)
    depth = torch.full((1, 8, 8, 1), 500, dtype=torch.uint16)
    depth[0, 0, 0], depth[0, 7, 7] = 0, 9000  # nothing measured; beyond what counts
    pixels = encoder.pixels(colours, None, depth)
    torch.testing.assert_close(pixels[0, :, 3, 3], torch.tensor([0.0, 0.2, 1.0, 0.25]))
    assert (pixels[0, 3, 0, 0], pixels[0, 3, 7, 7]) == (0.0, 1.0)
    ramp = torch.arange(64).view(1, 8, 8, 1)
    seen = encoder.pixels(
        ramp.to(torch.uint8).expand(-1, -1, -1, 3), torch.Generator().manual_seed(2), (ramp * 10).to(torch.uint16)
    )
    assert not torch.equal(seen[0, 0] * 255, ramp[0, ..., 0].float())
    torch.testing.assert_close(seen[0, 0] * 255, seen[0, 3] * 200)


@pytest.mark.gpu
def test_an_accelerator_gathers_and_sees_depth():
    torch.manual_seed(0)
    cameras, seen = Cameras(SPECS, BOTH, (), depth=PAIR), images(*BOTH[:3])
    order = torch.tensor([1, 0])
    there = {key: value.cuda().index_select(0, order.cuda()) for key, value in seen.items()}
    wanted = cameras("static_rgb", seen)[order]
    torch.testing.assert_close(cameras.cuda()("static_rgb", there).cpu(), wanted, atol=1e-3, rtol=1e-3)


def test_a_depth_image_is_a_channel_of_its_camera():
    torch.manual_seed(0)
    cameras, seen = Cameras(SPECS, BOTH, (), depth=PAIR), images(*BOTH[:3])
    assert cameras.sizes == {"static_rgb": 64, "static_depth": 0, "wrist_rgb": 64}
    assert cameras.sources == ("static_rgb", "wrist_rgb")
    shapes = [tuple(cameras(key, seen).shape) for key in cameras.sizes]
    assert shapes == [(2, 3, 64), (2, 3, 0), (2, 3, 64)]
    moved = {**seen, "static_depth": seen["static_depth"] * 4}
    assert not torch.allclose(cameras("static_rgb", moved), cameras("static_rgb", seen))
    torch.testing.assert_close(cameras("wrist_rgb", moved), cameras("wrist_rgb", seen))


def test_without_a_pair_depth_has_an_encoder_of_its_own():
    cameras = Cameras(SPECS, BOTH, ())
    assert cameras.sizes == {"static_rgb": 64, "static_depth": 64, "wrist_rgb": 64}
    assert cameras("static_depth", images("static_depth")).shape == (2, 3, 64)


def test_a_shared_encoder_sees_all_cameras():
    keys = ("static_rgb", "wrist_rgb")
    counts = {}
    for shared in (False, True):
        cameras = Cameras({**SPECS, "wrist_rgb": SPECS["static_rgb"]}, keys, keys, shared=shared)
        same = images("static_rgb")["static_rgb"]
        one, other = (cameras(key, dict.fromkeys(keys, same)) for key in keys)
        assert torch.equal(one, other) == shared
        counts[shared] = sum(weight.numel() for weight in cameras.state_dict().values())
    assert counts[False] == 2 * counts[True]


def test_what_does_not_fit_is_refused():
    for wrong, error, says in (
        ({"depth": {"static_rgb": "static_dpeth"}}, UnknownName, "nearest: static_depth"),
        ({"depth": {"static_rgb": "wrist_rgb"}}, ConfigError, "a colour image and a depth image of the same size"),
        ({"depth": {"wrist_rgb": "static_depth"}}, ConfigError, r"'static_depth' uint16 \(24, 32, 1\)"),
        ({"depth": PAIR, "goal_keys": ["static_rgb"]}, ConfigError, "goal_keys: expected both of"),
        ({"depth": PAIR, "shared": True}, ConfigError, "same number of channels from every camera"),
        ({"encoder": {"_target_": "robot_learning.nn.mlp.ResidualMLP"}}, ConfigError, "derived from ImageEncoder"),
        ({"encoder": {"_target_": "robot_learning.nn.vision.ConvEncoder", "sise": 3}}, UnknownName, "nearest: size"),
    ):
        with pytest.raises(error, match=says):
            Cameras(SPECS, BOTH, wrong.pop("goal_keys", []), **wrong)


def test_settings_name_the_policys_own():
    with pytest.raises(ConfigError, match="takes the cells of images"):
        Cameras(SPECS, BOTH, (), vectors=False, encoder={"_target_": "robot_learning.nn.vision.ConvEncoder", "size": 3})
