"""Datasets in the layouts that people have: which videos are found, what is said of the rest, and clips of them."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from net.layouts import (
    SIZE,
    density,
    encode,
    fixations,
    picture,
    save,
    write_clips,
    write_dhf1k,
    write_hollywood2,
    write_ucfsports,
)
from pages.blocks import blocks
from tased_net import Predictor, TASEDNet, cli
from tased_net.data import Clips, DataError, Place, Split, Video, cache, open_dataset
from tased_net.data.clips import resized_density, resized_fixations
from tased_net.data.listing import list_folder, series
from tased_net.data.problems import natural
from tased_net.frames import network_input
from tased_net.jobs import sources_in
from tased_net.sources import VIDEOS
from tased_net.video import PyAVReader


def names(split: Split) -> list[str]:
    return [video.name for video in split.videos]


def assert_is(video: Video, seed: int, length: int, size: tuple[int, int] = SIZE, *, exact: bool = True) -> None:
    """The video has the pictures and the truth that the layouts' helpers write; pictures about, if not `exact`."""
    assert (video.length, video.size, video.gaps) == (length, size, ())
    for index, image in enumerate(video.images(range(length))):
        assert image.dtype == np.uint8
        difference = np.abs(image.astype(int) - picture(seed, index, size))
        assert difference.max() == 0 if exact else difference.mean() < 30
        values, points = video.density(index), video.fixations(index)
        assert values is not None
        assert points is not None
        assert values.dtype == np.float32
        assert np.array_equal(values, density(seed, index, size).astype(np.float32) / 255)
        assert np.array_equal(points, fixations(seed, index, size) > 0)


# ------------------------------------------------------------------------------------------------------------------ DHF1K


@pytest.mark.parametrize(
    "places",
    [
        {},
        {"frames": "annotation/{video:04d}/images/{frame:04d}.png"},
        {"frames": "frames/{video:03d}/{frame:06d}.PNG"},
        {"frames": "videos/{video}/img_{frame:05d}.png", "maps": "annotation/{video:04d}/maps/eyeMap_{frame:05d}.png"},
        {"fixation": "annotation/{video:04d}/fixation/maps/{frame:04d}.mat"},
        {"fixation": "annotation/{video:04d}/fixations/{frame:04d}.png"},
        {kind: f"{{video:04d}}/{kind}/{{frame:04d}}.png" for kind in ("frames", "maps", "fixation")},
        {kind: f"training/{{video:04d}}/{kind}/{{frame:04d}}.png" for kind in ("frames", "maps", "fixation")},
        {kind: f"{kind}/{{video:04d}}/{{frame:04d}}.png" for kind in ("frames", "maps", "fixation")},
    ],
)
def test_dhf1k_is_found_with_extracted_frames(tmp_path: Path, places: dict[str, str]) -> None:
    write_dhf1k(tmp_path, {1: 3, 2: 12}, **places)  # type: ignore[arg-type]
    split = open_dataset(tmp_path, "dhf1k", "train")
    assert split.problems == ["598 videos are missing: 0003 to 0600"]
    assert names(split) == ["0001", "0002"]
    assert_is(split.videos[0], 1, 3)
    assert_is(split.videos[1], 2, 12)


@pytest.mark.parametrize("files", ["video/{video:03d}.AVI", "video/{video:04d}.avi", "{video:03d}.mp4"])
def test_dhf1k_is_found_with_video_files(tmp_path: Path, files: str) -> None:
    write_dhf1k(tmp_path, {7: 20}, frames=files)
    (video,) = open_dataset(tmp_path, "dhf1k").videos
    assert_is(video, 7, 20, exact=False)
    assert video.rate == 30
    with PyAVReader(tmp_path / files.format(video=7)) as reader:
        frames = [frame.image for frame in reader]
    assert np.array_equal(next(iter(video.images([13]))), frames[13])


def test_jpeg_frames_and_empty_folders_are_fine(tmp_path: Path) -> None:
    write_dhf1k(tmp_path, {1: 2}, frames="video/{video:04d}/{frame:04d}.jpg")
    (tmp_path / "video" / "0002").mkdir()
    (tmp_path / "video" / "0001" / ".hidden.png").write_bytes(b"")
    (tmp_path / "video" / "0001" / "Thumbs.db").write_bytes(b"")
    (video,) = open_dataset(tmp_path, "dhf1k").videos
    assert_is(video, 1, 2, exact=False)


def test_dhf1k_is_split_by_number(tmp_path: Path) -> None:
    write_dhf1k(tmp_path, {1: 1, 600: 1, 601: 1, 700: 1, 701: 1, 1000: 1})
    save(tmp_path / "video" / "1001" / "0001.png", picture(0, 0))
    assert names(open_dataset(tmp_path, "dhf1k", "train")) == ["0001", "0600"]
    assert names(open_dataset(tmp_path, "dhf1k", "val")) == ["0601", "0700"]
    test = open_dataset(tmp_path, "dhf1k", "test")
    assert names(test) == ["0701", "1000"]
    assert test.problems == ["298 videos are missing: 0702 to 0999"]  # but no word of the truth, which is not published
    assert (test.videos[0].density(0), test.videos[0].fixations(0)) == (None, None)
    assert test.videos[0].size == SIZE
    assert names(open_dataset(tmp_path, "dhf1k")) == ["0001", "0600", "0601", "0700", "0701", "1000"]


@pytest.mark.parametrize(("images_from", "truth_from"), [(0, 1), (1, 0), (0, 0)])
def test_frames_counted_from_zero_are_matched_with_truth_counted_from_one(
    tmp_path: Path, images_from: int, truth_from: int
) -> None:
    for index in range(4):
        save(tmp_path / "video" / "0005" / f"{index + images_from:04d}.png", picture(5, index))
        for kind, make in (("maps", density), ("fixation", fixations)):
            save(tmp_path / "annotation" / "0005" / kind / f"{index + truth_from:04d}.png", make(5, index))
    (video,) = open_dataset(tmp_path, "dhf1k").videos
    assert_is(video, 5, 4)


@pytest.mark.parametrize(("images_from", "truth_from"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("dataset", ["dhf1k", "folder"])
def test_a_first_frame_without_truth_or_image_shifts_no_map(
    tmp_path: Path, dataset: str, images_from: int, truth_from: int
) -> None:
    frames = tmp_path / ("video/0005" if dataset == "dhf1k" else "0005/images")
    truth = tmp_path / ("annotation/0005" if dataset == "dhf1k" else "0005")
    for number in range(6):
        if number >= images_from:
            save(frames / f"{number:04d}.png", picture(5, number))
        for kind, make in (("maps", density), ("fixation", fixations)):
            if number >= truth_from:
                save(truth / kind / f"{number:04d}.png", make(5, number))
    (video,) = open_dataset(tmp_path, dataset).videos
    index = video.length - 1
    (image,) = video.images([index])
    assert np.array_equal(image, picture(5, 5))
    assert np.array_equal(video.density(index), density(5, 5) / np.float32(255))


def test_images_that_end_early_are_matched_all_the_same(tmp_path: Path) -> None:
    for index in range(6):
        if index < 4:
            save(tmp_path / "video" / "0005" / f"{index:04d}.png", picture(5, index))
        for kind, make in (("maps", density), ("fixation", fixations)):
            save(tmp_path / "annotation" / "0005" / kind / f"{index + 1:04d}.png", make(5, index))
    (video,) = open_dataset(tmp_path, "dhf1k").videos
    assert_is(video, 5, 4)


def test_a_list_of_a_split_that_notepad_saved_has_its_first_video(tmp_path: Path) -> None:
    write_clips(tmp_path, OWN)
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfstreet\r\npark\r\n")
    assert names(open_dataset(tmp_path, "folder", "train")) == ["park", "street"]


# ------------------------------------------------------------------------------------------------ Hollywood-2, UCF-Sports


def test_hollywood2_is_found(tmp_path: Path) -> None:
    shots = {
        "actioncliptrain00001_2": (1, (20, 46)),
        "actioncliptrain00001_10": (5, (20, 46)),
        "actioncliptrain00001_1": (3, (24, 40)),
        "actioncliptest00001_1": (2, (30, 30)),
    }
    write_hollywood2(tmp_path, shots)
    training = open_dataset(tmp_path, "hollywood2", "train", strict=True)
    assert names(training) == [f"actioncliptrain00001_{shot}" for shot in (1, 2, 10)]
    for video in training.videos:
        assert_is(video, 0, *shots[video.name])
    testing = open_dataset(tmp_path, "hollywood2", "test", strict=True)
    assert names(testing) == ["actioncliptest00001_1"]
    assert names(open_dataset(tmp_path / "training", "hollywood2", "train")) == names(training)
    with pytest.raises(DataError, match="has no split 'val', only train, test"):
        open_dataset(tmp_path, "hollywood2", "val")


def test_ucfsports_is_found(tmp_path: Path) -> None:
    training = {"Diving-Side-005": (4, (26, 46)), "Walk-Front-010": (2, (36, 48))}
    write_ucfsports(tmp_path, training, {"Diving-Side-001": (3, (26, 46))})
    split = open_dataset(tmp_path, "ucfsports", "train", strict=True)
    assert names(split) == list(training)
    for video in split.videos:
        assert_is(video, 0, *training[video.name])
    assert names(open_dataset(tmp_path, "ucfsports", "test", strict=True)) == ["Diving-Side-001"]
    assert len(open_dataset(tmp_path, "ucfsports").videos) == 3


# ----------------------------------------------------------------------------------------------------- folders of one's own

OWN = {"street": (4, SIZE), "park": (3, SIZE), "market 2": (2, SIZE)}


def test_a_plain_folder_is_a_folder_for_each_video(tmp_path: Path) -> None:
    write_clips(tmp_path, OWN, first=100)
    split = open_dataset(tmp_path, "folder", strict=True)
    assert names(split) == ["market 2", "park", "street"]
    for video in split.videos:
        assert_is(video, list(OWN).index(video.name), *OWN[video.name])
    with pytest.raises(DataError, match="has no split 'train', as no video is in any: leave the split out"):
        open_dataset(tmp_path, "folder", "train")


def test_a_plain_folder_may_hold_video_files(tmp_path: Path) -> None:
    write_clips(tmp_path, {"street": (20, SIZE)})
    shutil.rmtree(tmp_path / "street" / "images")
    encode(tmp_path / "street" / "video.mp4", [picture(0, index) for index in range(20)])
    (video,) = open_dataset(tmp_path, "folder", strict=True).videos
    assert_is(video, 0, 20, exact=False)


def test_a_plain_folder_without_truth_is_taken_as_it_is(tmp_path: Path) -> None:
    encode(tmp_path / "street.mp4", [picture(0, index) for index in range(20)])
    save(tmp_path / "park" / "1.png", picture(1, 0))
    save(tmp_path / "park" / "2.png", picture(1, 1))
    split = open_dataset(tmp_path, "folder")
    assert [(video.name, video.length, video.density(0), video.fixations(0)) for video in split.videos] == [
        ("park", 2, None, None),
        ("street", 20, None, None),
    ]
    assert [video.rate for video in split.videos] == [None, Fraction(30)]
    assert split.problems == ["2 videos have no maps: park, street", "2 videos have no fixations: park, street"]


def test_the_size_of_frames_is_that_of_upright_ones(tmp_path: Path) -> None:
    upright = Image.fromarray(picture(0, 0, (40, 24)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    (tmp_path / "street").mkdir()
    upright.rotate(90, expand=True).save(tmp_path / "street" / "1.jpg", exif=exif)
    (video,) = open_dataset(tmp_path, "folder").videos
    assert video.size == next(video.images([0])).shape[:2] == (40, 24)
    (tmp_path / "street" / "1.jpg").write_bytes(b"no image")
    (video,) = open_dataset(tmp_path, "folder").videos
    with pytest.raises(DataError, match=r"1\.jpg: damaged, or not what its name says"):
        assert video.size


def test_frames_and_their_maps_are_turned_upright_alike(tmp_path: Path) -> None:
    """As each file says, so that a map made of an upright frame fits as well as one that was copied with the frame's EXIF data."""
    frame, blob = picture(0, 0, (40, 24)), density(0, 0, (40, 24))
    points = fixations(0, 0, (40, 24))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    for name, turned in (("street", True), ("park", False)):
        for part, values in (("images", frame), ("maps", blob), ("fixation", points)):
            file = tmp_path / name / part / "1.png"
            file.parent.mkdir(parents=True)
            if turned:
                Image.fromarray(np.rot90(values)).save(file, exif=exif)
            else:
                Image.fromarray(values).save(file)
    for video in open_dataset(tmp_path, "folder").videos:
        assert video.size == video.source.size() == (40, 24)
        found = (next(video.images([0])), video.density(0), video.fixations(0))
        wanted = (frame, (blob / 255).astype(np.float32), points > 0)
        assert all(map(np.array_equal, found, wanted))


def test_splits_of_a_plain_folder_are_folders_or_lists(tmp_path: Path) -> None:
    write_clips(tmp_path / "Train", OWN)
    write_clips(tmp_path / "validation", {"street": (1, SIZE), "harbour": (1, SIZE)})
    assert names(open_dataset(tmp_path, "folder", "train")) == ["market 2", "park", "street"]
    assert names(open_dataset(tmp_path, "folder", "val")) == ["harbour", "street"]
    assert names(open_dataset(tmp_path, "folder")) == ["harbour", "market 2", "park", "train/street", "val/street"]
    (tmp_path / "test.txt").write_text("# to look at\npark\n\n market 2\n")
    assert names(open_dataset(tmp_path, "folder", "test")) == ["market 2", "park"]
    assert names(open_dataset(tmp_path, "folder", "train")) == ["street"]  # what is tested with is not trained with
    (tmp_path / "night.txt").write_text("street\nforest\n")
    night = open_dataset(tmp_path, "folder", "night")
    assert names(night) == ["train/street", "val/street"]
    assert night.problems == ["1 video is missing: forest"]
    (tmp_path / "night.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"night\.txt: cannot be read as text"):
        open_dataset(tmp_path, "folder", "night")


def test_a_list_of_videos_without_truth_stands_beside_one_with_truth(tmp_path: Path) -> None:
    write_clips(tmp_path, OWN)
    for kind in ("maps", "fixation"):
        shutil.rmtree(tmp_path / "park" / kind)
    (tmp_path / "train.txt").write_text("street\nmarket 2\n")
    (tmp_path / "test.txt").write_text("park\n")
    assert names(open_dataset(tmp_path, "folder")) == ["market 2", "park", "street"]
    (tmp_path / "train.txt").write_text("street\nmarket 2\npark\n")
    (tmp_path / "test.txt").unlink()
    assert names(open_dataset(tmp_path, "folder")) == ["market 2", "street"]


# --------------------------------------------------------------------------------------------------------------- problems


def test_what_is_missing_is_counted_by_kind(tmp_path: Path) -> None:
    clips = {f"{number:04d}": (6, SIZE) for number in (1, 2, 3, 4, 5, 6, 7, 8, 10)}
    write_clips(tmp_path, clips)
    for number in (1, 3, 4, 5):
        shutil.rmtree(tmp_path / f"{number:04d}" / "maps")
    shutil.rmtree(tmp_path / "0002" / "fixation")
    shutil.rmtree(tmp_path / "0006" / "images")
    for file in (tmp_path / "0007").rglob("0003.png"):
        file.unlink()
    for file in (tmp_path / "0008").rglob("000[56].png"):
        if "images" in file.parts:
            file.unlink()
    (tmp_path / "0010" / "maps" / "0006.png").unlink()
    split = open_dataset(tmp_path, "folder")
    assert split.problems == [
        "1 video has no frames and is left out: 0006",
        "4 videos have no maps and are left out: 0001, 0003 to 0005",
        "1 video has no fixations: 0002",
        "1 video has truth after its last frame: 0008",
        "1 video has frames after the last of its truth: 0010",
        "1 video lacks images or truth in between: 0007",
    ]
    assert [(video.name, video.length) for video in split.videos] == [
        ("0002", 6),
        ("0007", 6),
        ("0008", 4),
        ("0010", 5),
    ]
    assert split.videos[0].fixations(0) is None
    assert split.videos[1].gaps == (2,)
    with pytest.raises(DataError, match="0007/maps: has no file with the number 3"):
        split.videos[1].density(2)
    images = split.videos[1].images([1, 2])
    assert np.array_equal(next(images), picture(6, 1))
    with pytest.raises(DataError, match="0007/images: has no file with the number 3"):
        next(images)
    with pytest.raises(DataError, match=r"is not complete: 1 video has no frames and is left out: 0006; 4 videos have"):
        open_dataset(tmp_path, "folder", strict=True)


def test_frames_without_all_of_their_truth_are_still_frames_of_clips(tmp_path: Path) -> None:
    write_clips(tmp_path, {"street": (10, SIZE)})
    for number in (2, 3, 5):
        (tmp_path / "street" / "fixation" / f"{number:04d}.png").unlink()
    split = open_dataset(tmp_path, "folder")
    (video,) = split.videos
    assert (video.length, video.gaps) == (10, (1, 2, 4))
    assert video.density(1) is not None
    clips = Clips(split, 4, SIZE)
    assert clips.clip(0, 0).fixations.any()
    with pytest.raises(DataError, match="street/fixation: has no file with the number 5"):
        clips.clip(0, 1)


def test_video_files_that_are_damaged_are_told(tmp_path: Path) -> None:
    write_dhf1k(tmp_path, {1: 90, 2: 20, 3: 20}, frames="video/{video:03d}.AVI", annotated=[2, 3])
    for index in range(60):
        save(tmp_path / "annotation" / "0001" / "maps" / f"{index + 1:04d}.png", density(1, index))
        save(tmp_path / "annotation" / "0001" / "fixation" / f"{index + 1:04d}.png", fixations(1, index))
    file = tmp_path / "video" / "001.AVI"
    frames = file.read_bytes().split(b"00dc")
    file.write_bytes(b"00dc".join(frames[:40]))
    (tmp_path / "video" / "002.AVI").write_bytes(b"nothing")
    split = open_dataset(tmp_path, "dhf1k")
    assert split.problems[1:] == [
        "1 video cannot be decoded and is left out: 0002",
        "1 video is cut short: 0001",
        "1 video has truth after its last frame: 0001",
    ]
    assert names(split) == ["0001", "0003"]
    assert 36 < split.videos[0].length < 40


def test_a_decoder_may_give_one_frame_more_than_the_truth_has(tmp_path: Path) -> None:
    write_dhf1k(tmp_path, {1: 20}, frames="video/{video:03d}.AVI")
    (tmp_path / "annotation" / "0001" / "maps" / "0020.png").unlink()
    assert len(open_dataset(tmp_path, "dhf1k", "train").problems) == 1  # the missing videos
    (tmp_path / "annotation" / "0001" / "maps" / "0019.png").unlink()
    split = open_dataset(tmp_path, "dhf1k", "train")
    assert split.problems[1:] == ["1 video has frames after the last of its truth: 0001"]
    assert split.videos[0].length == 18


def test_ctrl_c_does_not_wait_for_the_other_video_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        (tmp_path / f"{number}.avi").touch()
    gone_through: list[str] = []

    def stopped_at_once(path: str) -> None:
        if path.endswith("/0.avi"):
            raise KeyboardInterrupt
        gone_through.append(path)
        time.sleep(0.02)

    monkeypatch.setattr("tased_net.data.dataset.open_file", stopped_at_once)
    with pytest.raises(KeyboardInterrupt):
        open_dataset(tmp_path, "folder")
    assert len(gone_through) < 20


def test_folders_that_hold_no_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        open_dataset(tmp_path / "nowhere", "dhf1k")
    (tmp_path / "video" / "readme").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no videos as DHF1K has them, docs/data\.md shows how"):
        open_dataset(tmp_path, "dhf1k")
    with pytest.raises(
        ValueError, match="dataset must be one of 'dhf1k', 'hollywood2', 'ucfsports', 'folder', got 'x'"
    ):
        open_dataset(tmp_path, "x")


# ---------------------------------------------------------------------------------------------------------------- listing


def test_a_folder_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clips(tmp_path, {"street": (3, SIZE)})
    save(tmp_path / "street" / "maps" / "odd_0009.png", density(0, 0))
    read: list[str] = []

    def noted(path: str) -> Any:
        read.append(path)
        return list_folder(path)

    written: list[object] = []

    def kept(kind: str, path: str, value: object) -> None:
        written.append(value)
        cache.keep(kind, path, value)

    monkeypatch.setattr("tased_net.data.listing.list_folder", noted)
    monkeypatch.setattr("tased_net.data.listing.keep", kept)
    monkeypatch.setattr("tased_net.data.listing._JUST_CHANGED", 0)
    first = open_dataset(tmp_path, "folder")
    assert len(read) == 5
    assert open_dataset(tmp_path, "folder") == first
    assert (len(read), len(written)) == (5, 1)
    for kind in ("images", "maps", "fixation"):
        save(tmp_path / "street" / kind / "0004.png", density(0, 3))
    assert open_dataset(tmp_path, "folder").videos[0].length == 4
    assert (len(read), len(written)) == (8, 2)


@pytest.mark.parametrize("value", ["null", "[]", '{"PATH": 1}', '{"PATH": [TIME, {"images": {}}]}'])
def test_a_damaged_cache_of_folders_is_not_used(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr("tased_net.data.listing._JUST_CHANGED", 0)
    write_clips(tmp_path, {"street": (3, SIZE)})
    first = open_dataset(tmp_path, "folder")
    (entry,) = (own_cache / "tased-net").rglob("*.json")
    value = value.replace("PATH", str(tmp_path)).replace("TIME", str(tmp_path.stat().st_mtime_ns))
    entry.write_text(f'{{"path": "{tmp_path}", "value": {value}}}')
    assert open_dataset(tmp_path, "folder") == first


def test_a_folder_that_changed_just_now_is_read_again(tmp_path: Path) -> None:
    for length in (1, 2, 3):  # perhaps too fast for the clock of the file system
        write_clips(tmp_path, {"street": (length, SIZE)})
        assert open_dataset(tmp_path, "folder").videos[0].length == length


@pytest.mark.parametrize(
    "listed",
    [
        ["0001.png", "0002.png", "0003.png"],
        ["1.png", "10.png", "9.png"],
        ["a_5.png", "a_7.png", "b_6.png", "c_7.png"],
        ["20240101120000.png", "20240101120133.png"],
        ["9999.png", "10000.png"],
        ["x.png", "3.png"],
        ["clip_001_fix.png", "clip_002_fix.png"],
    ],
)
def test_every_numbered_file_of_a_series_has_its_path(listed: list[str]) -> None:
    found = series("folder", listed)
    assert found is not None
    by_number: dict[int, str] = {}
    for name in sorted(listed, key=natural):
        digits = "".join(c if c.isdecimal() else " " for c in name).split()
        if digits:
            by_number.setdefault(int(digits[-1]), name)
    assert found.numbers() == set(by_number)
    assert {found.path(number) for number in by_number} == {f"folder/{name}" for name in by_number.values()}


@pytest.mark.parametrize("name", ["{}_v2.png", "64x36_{}_v2.png", "{}_7_640x360.png"])
def test_a_number_that_is_the_same_in_all_names_is_not_the_frame(name: str) -> None:
    found = series("folder", [name.format(f"{number:03d}") for number in (1, 2, 4)])
    assert found is not None
    assert found.numbers() == {1, 2, 4}
    assert found.path(4) == "folder/" + name.format("004")
    with pytest.raises(DataError, match="folder: has no file with the number 3"):
        found.path(3)


def test_a_folder_s_videos_are_those_that_prediction_takes(tmp_path: Path) -> None:
    names = sorted(f"a{suffix}" for suffix in VIDEOS)
    for name in [*names, "a.txt"]:
        (tmp_path / name).touch()
    assert list_folder(str(tmp_path)).videos == tuple(names)
    assert sources_in([str(tmp_path)]) == [str(tmp_path / name) for name in names]


def test_a_link_that_leads_to_itself_is_no_folder_and_stops_no_listing(tmp_path: Path) -> None:
    (tmp_path / "0001").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert list_folder(str(tmp_path)).folders == ("0001",)


def test_files_without_a_number_are_no_series() -> None:
    assert series("folder", ["a.png", "b.png"]) is None
    assert series("folder", []) is None


def test_a_dataset_is_small_to_send_to_workers(tmp_path: Path) -> None:
    write_dhf1k(tmp_path, {1: 200}, size=(2, 2))
    split = open_dataset(tmp_path, "dhf1k", "train")
    assert len(pickle.dumps(split.videos)) < 2000
    assert pickle.loads(pickle.dumps(split)) == split


# ------------------------------------------------------------------------------------------------------------- truth files


def write_one(root: Path, **truth: Callable[[Path], object]) -> Video:
    """A video of one frame whose truth a function writes: ``maps_png=…`` writes maps/0001.png."""
    save(root / "street" / "images" / "0001.png", picture(0, 0))
    for what, write in truth.items():
        kind, suffix = what.split("_")
        file = root / "street" / kind / f"0001.{suffix}"
        file.parent.mkdir(parents=True)
        write(file)
    (video,) = open_dataset(root, "folder").videos
    return video


def matrices(**named: Any) -> Callable[[Path], object]:
    return lambda file: scipy.io.savemat(file, named)


def torn(file: Path) -> None:
    """A compressed matrix, damaged in its middle."""
    save(file, POINTS)
    data = bytearray(file.read_bytes())
    data[150:160] = bytes(10)
    file.write_bytes(data)


def misplaced(file: Path) -> None:
    """A sparse matrix with a point outside of it."""
    matrix = scipy.sparse.csc_matrix(np.eye(4))
    matrix.indices[2] = 10**6
    scipy.io.savemat(file, {"I": matrix})


POINTS = np.zeros(SIZE, np.uint8)
POINTS[3, 5] = POINTS[35, 63] = 1


@pytest.mark.parametrize(
    "truth",
    [
        {"fixation_png": lambda file: save(file, POINTS)},
        {"fixation_png": lambda file: save(file, POINTS * 255)},
        {"fixation_png": lambda file: Image.fromarray(POINTS * 255).convert("1").save(file)},
        {"fixation_png": lambda file: Image.fromarray(POINTS * 255).convert("RGB").save(file)},
        {"fixation_jpg": lambda file: Image.fromarray(POINTS * 255).save(file, quality=95)},
        {"fixations_mat": matrices(I=POINTS)},
        {"fixation_mat": matrices(I=POINTS, other=np.ones((3, 3)))},
        {"fixation_mat": matrices(fixLocs=POINTS.astype(float), count=2)},
        {"fixation_mat": matrices(map=scipy.sparse.csc_matrix(POINTS.astype(float)))},
        {"fixation_mat": matrices(map=POINTS > 0)},
    ],
)
def test_fixations_are_read_from_what_people_have(tmp_path: Path, truth: dict[str, Callable[[Path], object]]) -> None:
    points = write_one(tmp_path, **truth).fixations(0)
    assert points is not None
    assert points.dtype == np.bool_
    assert np.array_equal(points, POINTS > 0)


def test_maps_are_read_as_the_grey_value_over_the_highest(tmp_path: Path) -> None:
    grey = density(0, 0)
    deep = grey.astype(np.uint16) * 257
    writers: list[Callable[[Path], object]] = [
        lambda file: save(file, grey),
        lambda file: Image.fromarray(grey).convert("RGB").save(file),
        lambda file: Image.fromarray(grey).convert("P").save(file),
        lambda file: Image.fromarray(deep).save(file),
        lambda file: Image.fromarray((deep + 6 * (deep == 65535).astype(np.int32)).astype(np.int32)).save(file, "TIFF"),
    ]
    for number, write in enumerate(writers):
        values = write_one(tmp_path / str(number), maps_png=write).density(0)
        assert values is not None
        assert values.dtype == np.float32
        assert np.array_equal(values, grey.astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"maps_png": lambda file: file.write_bytes(b"")}, r"0001\.png: damaged, or not what its name says"),
        ({"maps_png": lambda file: file.symlink_to("nowhere")}, r"0001\.png: no such file"),
        (
            {"maps_png": lambda file: Image.fromarray(np.ones((2, 2), np.float32)).save(file, "TIFF")},
            r"0001\.png: holds floating-point values, whose range is unknown; save it with 8 or 16 bits",
        ),
        ({"fixation_mat": lambda file: file.write_bytes(b"text")}, r"0001\.mat: damaged, or not what its name says"),
        ({"fixation_mat": matrices(a=POINTS, b=POINTS)}, r"0001\.mat: want one matrix, or one called I, found a, b"),
        ({"fixation_mat": matrices(count=3)}, r"0001\.mat: want one matrix, or one called I, found none"),
        ({"fixation_mat": matrices(I=np.array([["a", "b"], ["c", "d"]], object))}, "called I, found none"),
        ({"fixation_mat": matrices(I=scipy.sparse.csc_matrix((20000, 20000)))}, "20000 x 20000 pixels are too many"),
        ({"fixation_mat": torn}, r"0001\.mat: damaged, or not what its name says"),
        ({"fixation_mat": misplaced}, r"0001\.mat: damaged, or not what its name says"),
        (
            {"fixation_mat": lambda file: file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(99))},
            r"0001\.mat: a MATLAB 7\.3 file, which is not read: save it with -v7",
        ),
    ],
)
def test_truth_that_cannot_be_read_is_one_sentence(tmp_path: Path, truth: Any, message: str) -> None:
    video = write_one(tmp_path, **truth)
    with pytest.raises(DataError, match=message):
        video.density(0) if video.maps else video.fixations(0)


def test_a_truncated_image_is_an_error_for_its_frame_alone(tmp_path: Path) -> None:
    write_clips(tmp_path, {"street": (3, SIZE)})
    file = tmp_path / "street" / "images" / "0002.png"
    file.write_bytes(file.read_bytes()[:100])
    (video,) = open_dataset(tmp_path, "folder", strict=True).videos
    images = video.images(range(3))
    assert np.array_equal(next(images), picture(0, 0))
    with pytest.raises(DataError, match=r"0002\.png: damaged"):
        next(images)
    assert np.array_equal(next(iter(video.images([2]))), picture(0, 2))


def test_frames_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    write_clips(tmp_path, {"street": (3, SIZE)})
    (video,) = open_dataset(tmp_path, "folder").videos
    for ask in (lambda: video.images([0, 3]), lambda: video.density(-1), lambda: video.fixations(3)):
        with pytest.raises(IndexError, match="street: has frames 0 to 2, asked for"):
            ask()


# ------------------------------------------------------------------------------------------------------------------ clips


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return open_dataset(write_dhf1k(tmp_path, {1: 3, 2: 20}), "dhf1k", "train")


def test_a_clip_is_what_the_network_sees_in_prediction(split: Split) -> None:
    net = TASEDNet(clip_length=8, width=0.02)
    for size in ((24, 40), (50, 91)):
        predictor = Predictor(net, size=size)
        clip = Clips(split, 8, size).clip(1, 5).clip
        assert (clip.shape, clip.dtype) == ((3, 8, *size), torch.float32)
        for step in range(8):
            assert torch.equal(clip[:, step], predictor.prepared(picture(2, 5 + step)).permute(2, 0, 1))


def test_the_truth_is_that_of_the_last_frames(split: Split) -> None:
    sample = Clips(split, 8, SIZE, maps=3).clip(1, 5)
    assert sample.name == "0002:5"
    for number, index in enumerate((10, 11, 12)):
        assert torch.equal(sample.density[number], torch.from_numpy(density(2, index) / np.float32(255)))
        assert torch.equal(sample.fixations[number], torch.from_numpy(fixations(2, index) > 0))


def test_a_short_video_is_looped(split: Split) -> None:
    clips = Clips(split, 8, SIZE)
    sample = clips.clip(0, 1)
    for step in range(8):
        assert torch.equal(sample.clip[:, step], network_input(picture(1, (1 + step) % 3), SIZE))
    assert torch.equal(sample.fixations[0], torch.from_numpy(fixations(1, 8 % 3) > 0))
    assert [clips.starts(video) for video in (0, 1)] == [1, 13]


def test_flip_mirrors_all_parts(split: Split) -> None:
    clips = Clips(split, 8, (24, 40), maps=2)
    plain, flipped = clips.clip(1, 2), clips[Place(1, 2, flip=True)]
    assert flipped.name == plain.name
    for one, other in zip(plain[:3], flipped[:3], strict=True):
        assert torch.equal(one.flip(-1), other)
        assert not torch.equal(one, other)


def test_clips_are_numbered_by_video_and_first_frame(split: Split) -> None:
    clips = Clips(split, 8, SIZE)
    assert len(clips) == 14
    assert [clips.place(number) for number in (0, 1, 2, 13)] == [
        (0, 0, False),
        (1, 0, False),
        (1, 1, False),
        (1, 12, False),
    ]
    assert clips[13].name == "0002:12"
    with pytest.raises(IndexError, match="there are 14 clips, asked for number 14"):
        clips[14]
    for video, start in ((0, 3), (1, 13), (1, -1)):  # of 3 and 20 frames: only the first is looped
        last = {0: 2, 1: 12}[video]
        with pytest.raises(IndexError, match=rf"000{video + 1}: .* frames 0 to {last}, asked for one from {start}"):
            clips.clip(video, start)
    with pytest.raises(ValueError, match="maps must be from 1 to the clip's 8 frames, got 9"):
        Clips(split, 8, SIZE, maps=9)


def test_clips_of_videos_without_maps_are_refused_and_without_fixations_have_none(tmp_path: Path) -> None:
    write_clips(tmp_path / "a", {"street": (3, SIZE)})
    shutil.rmtree(tmp_path / "a" / "street" / "fixation")
    assert not Clips(open_dataset(tmp_path / "a", "folder"), 4, (9, 9)).clip(0, 0).fixations.any()
    shutil.rmtree(tmp_path / "a" / "street" / "maps")
    with pytest.raises(DataError, match="street: has no density maps"):
        Clips(open_dataset(tmp_path / "a", "folder"), 4, (9, 9)).clip(0, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of fork, Python 3.12 and later
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same_clips(tmp_path: Path, context: str) -> None:
    split = open_dataset(write_dhf1k(tmp_path, {3: 30}, frames="video/{video:03d}.AVI"), "dhf1k", "train")
    clips = Clips(split, 8, (24, 40), maps=2)
    places = [Place(0, start, start % 2 == 0) for start in (0, 5, 11, 22)]
    list(split.videos[0].images([3]))  # the file has been open before workers are forked
    loader = DataLoader(clips, batch_size=2, sampler=places, num_workers=1, multiprocessing_context=context)  # type: ignore[arg-type]
    batches = list(loader)
    assert [batch.clip.shape for batch in batches] == [(2, 3, 8, 24, 40)] * 2
    for number, place in enumerate(places):
        batch, at = batches[number // 2], number % 2
        sample = clips[place]
        assert torch.equal(batch.clip[at], sample.clip)
        assert torch.equal(batch.density[at], sample.density)
        assert torch.equal(batch.fixations[at], sample.fixations)
        assert batch.name[at] == sample.name


def test_density_is_averaged_where_it_shrinks_and_interpolated_where_it_grows() -> None:
    values = np.arange(32, dtype=np.float32).reshape(4, 8)
    means = values.reshape(2, 2, 4, 2).mean((1, 3))
    assert np.array_equal(resized_density(values, (2, 4)).numpy(), means)
    assert np.array_equal(resized_density(values, (4, 8)).numpy(), values)
    rows = values.reshape(2, 2, 8).mean(1)
    between = np.sort(np.concatenate([rows[:, :-1] + 0.25, rows[:, :-1] + 0.75], axis=1))
    assert np.array_equal(resized_density(values, (2, 16))[:, 1:-1].numpy(), between)
    constant = resized_density(np.full((5, 7), 0.25, np.float32), (11, 3))
    assert torch.allclose(constant, torch.tensor(0.25))


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_fixation_is_lost(size: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.random(size) < 0.1
    moved = resized_fixations(points, target).numpy()
    expected = np.zeros(target, bool)
    for row, column in np.argwhere(points):
        expected[int((row + 0.5) * target[0] / size[0]), int((column + 0.5) * target[1] / size[1])] = True
    assert np.array_equal(moved, expected)
    if target[0] >= size[0] and target[1] >= size[1]:
        assert moved.sum() == points.sum()


# ------------------------------------------------------------------------------------------------------------ tased data


def test_the_command_counts_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dhf1k(tmp_path, {1: 3, 2: 4, 601: 5, 701: 6})
    shutil.rmtree(tmp_path / "annotation" / "0002" / "maps")
    assert cli.main(["data", str(tmp_path), "--dataset", "dhf1k"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "split     videos      frames  annotated frames",
        "train          1           3                 3",
        "val            1           5                 5",
        "test           1           6                 0",
        "all            3          14                 8",
        "996 videos are missing: 0003 to 0600, 0602 to 0700, 0702 to 1000",
        "1 video has no maps and is left out: 0002",
    ]
    assert err == ""


def test_the_command_is_strict_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ucfsports(tmp_path, {"Diving-Side-005": (2, SIZE)}, {})
    arguments = ["data", str(tmp_path), "--dataset", "ucfsports", "--split", "train", "--strict"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["train          1           2                 2"]
    shutil.rmtree(tmp_path / "training" / "Diving-Side-005" / "fixation")
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2:] == ["1 video has no fixations: Diving-Side-005"]
    assert err == f"tased: error: {tmp_path}: is not complete\n"


def test_the_command_refuses_what_is_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", str(tmp_path), "--dataset", "folder"]) == 2
    assert capsys.readouterr().err == (
        f"tased: error: {tmp_path}: holds no videos as a plain folder has them, docs/data.md shows how\n"
    )
    with pytest.raises(DataError):
        cli.main(["data", str(tmp_path), "--dataset", "folder", "--debug"])


# --------------------------------------------------------------------------------------------------------------- the docs


def test_the_command_prints_what_the_docs_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = {**dict.fromkeys(range(1, 13), 12), 601: 30, 602: 25, 701: 20}
    write_dhf1k(tmp_path, lengths, size=(4, 6))
    for number in (3, 7, 8):
        shutil.rmtree(tmp_path / "annotation" / f"{number:04d}" / "maps")
    shutil.rmtree(tmp_path / "annotation" / "0602" / "fixation")
    assert cli.main(["data", str(tmp_path), "--dataset", "dhf1k"]) == 0
    assert capsys.readouterr().out in [block.text for block in blocks("docs/data.md", "text")]
