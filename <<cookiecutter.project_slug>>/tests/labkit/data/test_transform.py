"""Transforms of nested samples."""

import colorsys
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from labkit.command import UsageError
from labkit.data.transform import (
    CentreCrop,
    ColourJitter,
    ComposeTree,
    GaussianBlur,
    Kind,
    Normalise,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomRotation,
    Resize,
    ToDtype,
    Transform,
    have_area,
)

KINDS = {"mask": Kind.MASK, "boxes": Kind.BOXES}
TOGETHER = ["image", "mask", "boxes"]


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_sample(height: int = 40, width: int = 60, box: tuple[int, int, int, int] = (10, 8, 30, 28)) -> dict[str, Any]:
    """Make a sample whose image is white and whose mask is 1 inside of its one box."""
    left, top, right, bottom = box
    mask = torch.zeros(height, width, dtype=torch.int64)
    mask[top:bottom, left:right] = 1
    image = (mask * 255).to(torch.uint8).expand(3, height, width).clone()
    return {"image": image, "mask": mask, "boxes": torch.tensor([box], dtype=torch.float32), "class": 7}


def find_box(mask: Tensor) -> list[float]:
    """Return the box around all ones of a mask."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


@pytest.mark.parametrize(
    "transform",
    [
        RandomCrop((30, 50)),
        RandomCrop((50, 70), padding=10),
        CentreCrop((30, 30)),
        RandomFlip(1.0),
        RandomFlip(1.0, vertical=True),
        RandomFlip(0.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(5))
def test_image_mask_and_boxes_move_together_to_the_pixel(transform: Transform[Any], seed: int) -> None:
    moved = ComposeTree([(transform, TOGETHER)], kinds=KINDS)(make_sample(), make_generator(seed))
    assert torch.equal(moved["image"][0], (moved["mask"] * 255).to(torch.uint8))
    assert moved["boxes"].tolist() == [find_box(moved["mask"])]
    assert moved["class"] == 7


@pytest.mark.parametrize(
    "transform",
    [Resize((80, 120)), Resize((20, 45)), RandomResizedCrop((64, 64), (0.8, 1)), RandomRotation(30)],
    ids=str,
)
@pytest.mark.parametrize("seed", range(5))
def test_image_mask_and_boxes_stay_together_when_pixels_are_resampled(transform: Transform[Any], seed: int) -> None:
    moved = ComposeTree([(transform, TOGETHER)], kinds=KINDS)(make_sample(), make_generator(seed))
    assert set(moved["mask"].unique().tolist()) == {0, 1}
    inside = moved["image"][0] > 127
    disagreeing = (inside != moved["mask"].bool()).sum().item()
    assert disagreeing <= 0.08 * moved["mask"].sum().item()
    assert moved["boxes"][0].tolist() == pytest.approx(find_box(moved["mask"]), abs=1.5)


@pytest.mark.parametrize(("turns", "degrees"), [(1, 90), (2, 180), (3, -90)])
def test_a_quarter_turn_is_exact(turns: int, degrees: int) -> None:
    image = torch.randint(256, (3, 24, 24), dtype=torch.uint8, generator=make_generator())
    rotation = RandomRotation(180)
    turned = rotation.apply(image, Kind.IMAGE, (24, 24), float(degrees))
    assert torch.equal(turned, torch.rot90(image, turns, (-2, -1)))
    assert torch.equal(rotation.apply(image, Kind.MASK, (24, 24), float(degrees)), torch.rot90(image, turns, (-2, -1)))
    sample = make_sample(40, 40)
    boxes = rotation.apply(sample["boxes"], Kind.BOXES, (40, 40), float(degrees))
    assert boxes[0].tolist() == pytest.approx(find_box(torch.rot90(sample["mask"], turns)), abs=1e-4)


def test_large_class_numbers_survive_in_masks() -> None:
    mask = torch.full((8, 8), 2**40 + 1)
    for transform in (Resize((16, 16)), RandomRotation(0), RandomResizedCrop((5, 5))):
        moved = ComposeTree([(transform, "mask")], kinds=KINDS)({"mask": mask}, make_generator())
        assert moved["mask"].unique().tolist() == [2**40 + 1]


def test_a_box_that_is_cut_off_stays_in_step_with_its_class_and_has_no_area() -> None:
    boxes = torch.tensor([[0.0, 0, 5, 5], [20, 20, 30, 30], [8, 8, 14, 13]])
    cut = ComposeTree([(CentreCrop((20, 20)), ["image", "boxes"])], kinds=KINDS)(
        {"image": torch.zeros(3, 40, 40), "boxes": boxes}, make_generator()
    )
    assert cut["boxes"].tolist() == [[0, 0, 0, 0], [10, 10, 20, 20], [0, 0, 4, 3]]
    assert have_area(cut["boxes"]).tolist() == [False, True, True]


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (7, 90)])
def test_resizing_agrees_with_pillow_within_one_grey_level(size: tuple[int, int]) -> None:
    image = torch.randint(256, (3, 40, 60), dtype=torch.uint8, generator=make_generator())
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    ours = Resize(size).apply(image, Kind.IMAGE, (40, 60), None).permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - np.asarray(pillow, dtype=int)).max() <= 1


def test_a_resized_crop_takes_the_share_and_ratio_that_it_is_given() -> None:
    crop = RandomResizedCrop((8, 8), scale=(0.2, 0.5), ratio=(0.5, 2.0))
    generator = make_generator()
    for _ in range(200):
        top, left, height, width = crop.draw((100, 80), generator)
        assert 0 <= top <= 100 - height
        assert 0 <= left <= 80 - width
        assert 0.19 <= height * width / 8000 <= 0.51
        assert 0.48 <= width / height <= 2.1


def test_an_image_too_narrow_for_the_ratio_is_cut_as_large_as_it_can_be() -> None:
    assert RandomResizedCrop((8, 8)).draw((4, 100), make_generator()) == (0, 47, 4, 5)


def test_a_region_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UsageError, match="50x50 cannot be cut out of an image of 40x60 with padding 2"):
        ComposeTree([(RandomCrop((50, 50), padding=2), "image")])(make_sample(), make_generator())


def test_the_same_stream_gives_the_same_sample_and_another_one_another() -> None:
    tree = ComposeTree(
        [
            (RandomResizedCrop((16, 16)), TOGETHER),
            (RandomFlip(), TOGETHER),
            (ColourJitter(0.4, 0.4, 0.4, 0.1), "image"),
            (GaussianBlur(), "image"),
        ],
        kinds=KINDS,
    )
    sample = make_sample()
    sample["image"] = torch.randint(256, (3, 40, 60), dtype=torch.uint8, generator=make_generator())
    before = {name: leaf.clone() if isinstance(leaf, Tensor) else leaf for name, leaf in sample.items()}
    state = torch.get_rng_state()
    first, again, other = (tree(sample, make_generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in TOGETHER)
    assert not torch.equal(first["image"], other["image"])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(torch.as_tensor(sample[name]), torch.as_tensor(before[name])) for name in sample)


def add_noise(leaf: Tensor) -> Tensor:
    """Stand for the transforms of torchvision and kornia: chance comes from the global generator."""
    return leaf + torch.rand(3)


def test_any_function_is_a_step_with_one_draw_for_all_its_leaves() -> None:
    tree = ComposeTree([(add_noise, ["left", "right"]), (add_noise, "alone")])
    sample = {name: torch.zeros(3) for name in ("left", "right", "alone")}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    moved = tree(sample, make_generator())
    assert torch.equal(moved["left"], moved["right"])
    assert not torch.equal(moved["left"], moved["alone"])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(tree(sample, make_generator())["alone"], moved["alone"])


def test_transforms_of_torchvision_fit() -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2", reason="install torchvision to test that it fits")
    tree = ComposeTree([(transforms.RandomCrop((20, 20)), ["image", "mask"])])
    sample = make_sample()
    sample["mask"] = sample["mask"][None]
    moved = tree(sample, make_generator())
    assert moved["image"].shape == (3, 20, 20)
    assert torch.equal(moved["image"][:1], (moved["mask"] * 255).to(torch.uint8))


def test_transforms_of_kornia_fit() -> None:
    augmentation = pytest.importorskip("kornia.augmentation", reason="install kornia to test that it fits")
    tree = ComposeTree([(ToDtype(), "image"), (augmentation.RandomHorizontalFlip(p=0.5), ["image", "mask"])])
    for seed in range(5):
        sample = make_sample()
        sample["mask"] = sample["mask"][None].float()
        moved = tree(sample, make_generator(seed))
        assert torch.equal(moved["image"][0, :1], moved["mask"][0])


class Pair(NamedTuple):
    left: Tensor
    right: dict[str, list[Tensor]]


def test_leaves_are_found_however_samples_are_nested() -> None:
    sample = (Pair(torch.zeros(1, 4, 4), {"deep": [torch.zeros(1, 4, 4), torch.ones(1)]}), "name")
    tree: ComposeTree = ComposeTree([(lambda leaf: leaf + 1, [(0, 0)]), (str.upper, -1)])
    moved = tree(sample, make_generator())
    assert isinstance(moved[0], Pair)
    assert moved[0].left.sum() == 16
    assert moved[0].right["deep"][0].sum() == 0
    assert moved[1] == "NAME"
    deep = ComposeTree([(lambda leaf: leaf + 1, (0, 1, "deep", 0))])(sample, make_generator())
    assert deep[0].right["deep"][0].sum() == 16
    assert sample[0].right["deep"][0].sum() == 0


def test_a_leaf_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="The sample has no leaf image"):
        ComposeTree([(RandomFlip(), "image")])({"picture": torch.zeros(3, 4, 4)}, make_generator())


def test_leaves_of_unequal_sizes_cannot_share_a_draw() -> None:
    with pytest.raises(UsageError, match="one size for that; the sample has image 4x4, mask 5x4"):
        ComposeTree([(RandomFlip(), ["image", "mask"])], kinds=KINDS)(
            {"image": torch.zeros(3, 4, 4), "mask": torch.zeros(5, 4)}, make_generator()
        )


def rgb_image() -> Tensor:
    return torch.randint(256, (3, 20, 30), dtype=torch.uint8, generator=make_generator(3))


def test_brightness_contrast_and_saturation_follow_their_definitions() -> None:
    image = rgb_image()
    jitter = ColourJitter(0.5, 0.5, 0.5)
    values = image.double() / 255
    grey = (values * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    expected = {
        (0, 1.5): values * 1.5,
        (1, 0.5): grey.mean() + (values - grey.mean()) * 0.5,
        (2, 0.0): grey.expand(3, -1, -1),
    }
    for (which, factor), result in expected.items():
        factors = [1.0, 1.0, 1.0]
        factors[which] = factor
        draw = type(jitter.draw((1, 1), make_generator()))(factors[0], factors[1], factors[2], 0.0, (0, 1, 2, 3))
        ours = jitter.apply(image, Kind.IMAGE, (20, 30), draw)
        assert (ours.double() / 255 - result.clamp(0, 1)).abs().max() <= 0.51 / 255


@pytest.mark.parametrize("turn", [0.0, 1 / 3, -1 / 3, 0.5, 0.1])
def test_the_hue_turns_as_in_the_standard_library(turn: float) -> None:
    image = rgb_image()
    jitter = ColourJitter(hue=0.5)
    draw = type(jitter.draw((1, 1), make_generator()))(1.0, 1.0, 1.0, turn, (3, 0, 1, 2))
    ours = jitter.apply(image, Kind.IMAGE, (20, 30), draw)
    for y, x in ((0, 0), (3, 7), (19, 29), (11, 4)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[:, y, x] / 255).tolist())
        expected = [round(255 * part) for part in colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)]
        assert ours[:, y, x].tolist() == pytest.approx(expected, abs=1)


def test_draws_lie_within_their_limits() -> None:
    generator = make_generator()
    draws = [ColourJitter(0.2, 0.3, 2.0, 0.1).draw((1, 1), generator) for _ in range(300)]
    assert all(0.8 <= draw.brightness <= 1.2 and 0.7 <= draw.contrast <= 1.3 for draw in draws)
    assert all(0 <= draw.saturation <= 3 and -0.1 <= draw.hue <= 0.1 for draw in draws)
    assert max(draw.brightness for draw in draws) > 1.15
    assert {draw.order[0] for draw in draws} == {0, 1, 2, 3}
    assert all(-10 <= RandomRotation(10).draw((1, 1), generator) <= 10 for _ in range(100))
    assert sum(RandomFlip(0.25).draw((1, 1), generator) for _ in range(2000)) == pytest.approx(500, abs=90)


def test_blurring_agrees_with_pillow_and_keeps_a_plain_image() -> None:
    image = rgb_image()
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).filter(ImageFilter.GaussianBlur(1.5))
    ours = GaussianBlur().apply(image, Kind.IMAGE, (20, 30), 1.5).permute(1, 2, 0).numpy()
    inside = (slice(6, -6), slice(6, -6))
    assert np.abs(ours[inside].astype(int) - np.asarray(pillow, dtype=int)[inside]).max() <= 5
    plain = torch.full((3, 9, 9), 200, dtype=torch.uint8)
    assert torch.equal(GaussianBlur().apply(plain, Kind.IMAGE, (9, 9), 2.0), plain)


def test_values_are_converted_to_the_unit_interval_and_back() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    tree = ComposeTree([(ToDtype(torch.float32), "image")])
    converted = tree({"image": image}, make_generator())["image"]
    assert (converted.min(), converted.max()) == (0, 1)
    back = ComposeTree([(ToDtype(torch.uint8), "image")])({"image": converted}, make_generator())["image"]
    assert torch.equal(back, image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_normalised_channels_have_mean_0_and_deviation_1(dtype: torch.dtype) -> None:
    image = rgb_image().to(dtype)
    values = image.double()
    mean = tuple(values.mean((1, 2)).tolist())
    deviation = tuple(values.std((1, 2), correction=0).tolist())
    normalised = ComposeTree([(Normalise(mean, deviation), "image")])({"image": image}, make_generator())["image"]
    assert normalised.dtype == torch.float32
    assert normalised.double().mean((1, 2)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert normalised.double().std((1, 2), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


def test_values_of_masks_and_boxes_are_left_alone_by_colour() -> None:
    sample = make_sample()
    steps: list[Any] = [ColourJitter(0.5, 0.5, 0.5, 0.5), GaussianBlur(), ToDtype(), Normalise((0.5,) * 3, (2.0,) * 3)]
    moved = ComposeTree([(step, TOGETHER) for step in steps], kinds=KINDS)(sample, make_generator())
    assert torch.equal(moved["mask"], sample["mask"])
    assert torch.equal(moved["boxes"], sample["boxes"])


def test_a_wrong_number_of_channels_is_named() -> None:
    image = torch.zeros(1, 4, 4)
    with pytest.raises(UsageError, match="Normalise knows 3 channels, and the image has 1"):
        ComposeTree([(Normalise((0, 0, 0), (1, 1, 1)), "image")])({"image": image}, make_generator())
    with pytest.raises(UsageError, match="3 channels, not 1"):
        ComposeTree([(ColourJitter(hue=0.1), "image")])({"image": image}, make_generator())
    assert math.isfinite(ComposeTree([(ColourJitter(0.1), "image")])({"image": image}, make_generator())["image"].sum())
