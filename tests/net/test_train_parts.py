"""The parts of training, each for itself: draws, batches, learning rates, running statistics, the log."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from net.layouts import write_dhf1k
from tased_net.data import Clips, Place, open_dataset
from tased_net.recipes import Recipe
from tased_net.s3d import batch_norm
from tased_net.tased import TASEDNet
from tased_net.train.draws import Draws, FixedDraws, layer_seed, uniform_places, usable_starts
from tased_net.train.folder import RunFolder, TrainingError
from tased_net.train.loading import StepKeys
from tased_net.train.optimise import Rates, optimiser_of
from tased_net.train.pictures import Scene, draw_scenes
from tased_net.train.processes import Processes
from tased_net.train.statistics import RunningStatistics

# ------------------------------------------------------------------------------------------------------------------ draws


def test_a_draw_depends_on_seed_step_and_number_alone() -> None:
    starts = [range(5), range(1), range(30), range(7)]
    forwards = [Draws(starts, 4, 3).place(step, index) for step in range(1, 9) for index in range(4)]
    draws = Draws(starts, 4, 3)
    backwards = [draws.place(step, index) for step in range(8, 0, -1) for index in range(3, -1, -1)]
    assert forwards == backwards[::-1]
    assert forwards != [Draws(starts, 4, 4).place(step, index) for step in range(1, 9) for index in range(4)]
    assert forwards[1:3] == [Place(2, 6, False), Place(3, 6, True)]  # whatever the machine, and for good


def test_every_video_comes_once_before_any_comes_again_in_ever_new_orders() -> None:
    draws = Draws([range(3)] * 7, 5, 0)
    videos = [draws.place(1 + number // 5, number % 5).video for number in range(70)]
    rounds = [tuple(videos[begin : begin + 7]) for begin in range(0, 70, 7)]
    assert all(sorted(round_) == list(range(7)) for round_ in rounds)
    assert len(set(rounds)) == 10


def test_starts_and_flips_are_even() -> None:
    draws = Draws([range(4)], 1, 1)
    counts = Counter(draws.place(step, 0) for step in range(1, 4001))
    assert len(counts) == 8
    assert all(abs(count - 500) < 5 * math.sqrt(500) for count in counts.values())


def test_a_further_attempt_is_another_clip_of_any_video() -> None:
    draws = Draws([range(100)] * 10, 2, 0)
    places = [draws.place(3, 1, attempt) for attempt in range(20)]
    assert len(set(places)) == 20
    assert len({place.video for place in places}) > 5


def test_fixed_clips_come_again_and_again() -> None:
    places = [Place(0, 3), Place(1, 0), Place(1, 5)]
    draws = FixedDraws(places, 3, 0)
    for step in range(1, 10):
        assert sorted(draws.place(step, index) for index in range(3)) == places


def test_seeds_of_layers_differ_by_step_and_turn() -> None:
    seeds = {layer_seed(seed, step, turn) for seed in range(3) for step in range(3) for turn in range(3)}
    assert len(seeds) == 27
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_uniform_places_are_spread_over_all_clips() -> None:
    starts = [range(5), range(1), [], [0, 4, 6]]
    assert uniform_places(starts, 3) == [Place(0, 1), Place(0, 4), Place(3, 4)]
    every = [*(Place(0, first) for first in range(5)), Place(1, 0), Place(3, 0), Place(3, 4), Place(3, 6)]
    assert uniform_places(starts, 99) == every
    assert uniform_places([[]], 3) == []


def test_clips_that_lack_their_truth_are_not_drawn(tmp_path: Path) -> None:
    write_dhf1k(tmp_path, {1: 12, 2: 3, 3: 12, 4: 5})
    for video, frame in ((1, 9), (1, 11), (2, 1), (4, 3)):
        (tmp_path / "annotation" / f"{video:04d}" / "maps" / f"{frame:04d}.png").unlink()
    for maps, expected in ((1, [[0, 2, 4], [0], range(5), []]), (2, [[0], [], range(5), []])):
        clips = Clips(open_dataset(tmp_path, "dhf1k"), 8, (32, 48), maps=maps)
        assert usable_starts(clips) == expected
        assert all(clips[place].density.amax() > 0 for place in uniform_places(expected, 9))
    draws = Draws([[], range(3), []], 2, 0)
    assert {draws.place(step, index).video for step in range(1, 5) for index in range(2)} == {1}


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_processes_share_the_clips_of_every_step(processes: int) -> None:
    shares = [list(StepKeys(range(3, 5), 2, 5, rank, processes)) for rank in range(processes)]
    keys = [key for share in shares for batch in share for key in batch]
    assert sorted(keys) == [(step, number) for step in (3, 4) for number in range(10)]
    whole = list(StepKeys(range(3, 5), 2, 5, 0, 1))
    assert all(batch in whole for share in shares for batch in share)  # the same batches


# ---------------------------------------------------------------------------------------------------------- learning rates


def test_rates_drop_on_a_plateau_twice_and_no_more() -> None:
    rates = Rates(Recipe(drops="plateau", patience=2, lr=1.0, drop_factor=0.1))
    seen = []
    for loss in (5.0, 4.0, 4.0, 4.5, 3.0, 3.0, math.nan, 3.0, 3.0, 3.0, 3.0):
        rates.observe(loss)
        encoder, prediction = rates.at(7)
        assert encoder == 1e-3
        seen.append(round(prediction, 6))
    assert seen == [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01]
    again = Rates(rates.recipe)
    again.load_state_dict(rates.state_dict())
    assert (again.at(1), again.lowest) == (rates.at(1), 3.0)


@pytest.mark.parametrize(("drop_encoder", "encoder"), [(False, [0.5] * 4), (True, [0.5, 0.5, 0.05, 0.005])])
def test_rates_drop_after_fixed_steps_the_encoder_s_where_it_is_asked_for(
    drop_encoder: bool, encoder: list[float]
) -> None:
    rates = Rates(Recipe(drops=(4, 6), lr=0.2, encoder_lr=0.5, drop_encoder=drop_encoder))
    pairs = [rates.at(step) for step in (1, 4, 5, 7)]
    assert [pair[0] for pair in pairs] == pytest.approx(encoder)
    assert [pair[1] for pair in pairs] == pytest.approx([0.2, 0.2, 0.02, 0.002])


def test_the_encoder_and_the_prediction_network_have_their_own_rates() -> None:
    net = TASEDNet(clip_length=8, width=0.02)
    optimiser = optimiser_of(net, Recipe(lr=0.1, encoder_lr=0.001))
    encoder, prediction = optimiser.param_groups
    assert (encoder["lr"], prediction["lr"]) == (0.001, 0.1)
    assert {id(p) for p in encoder["params"]} == {id(p) for n, p in net.named_parameters() if n.startswith("base")}
    assert len(encoder["params"]) + len(prediction["params"]) == len(list(net.parameters()))
    assert isinstance(optimiser, torch.optim.SGD)
    for group in optimiser.param_groups:
        assert (group["momentum"], group["weight_decay"]) == (0.9, 2e-7)
    optimiser = optimiser_of(net, Recipe(optimizer="adamw", momentum=0.8, weight_decay=0.01))
    assert isinstance(optimiser, torch.optim.AdamW)
    assert [group["lr"] for group in optimiser.param_groups] == [0.001, 0.1]
    for group in optimiser.param_groups:
        assert (group["betas"], group["weight_decay"]) == ((0.8, 0.999), 0.01)


# ------------------------------------------------------------------------------------------------------ running statistics


def statistics_after(batches: list[torch.Tensor], order: list[int], momentum: float) -> list[torch.Tensor]:
    norm = batch_norm(3).double().train()
    with torch.no_grad():
        assert norm.running_mean is not None
        norm.running_mean.fill_(0.5)
    statistics = RunningStatistics(norm, momentum, Processes())
    for _ in range(2):  # steps
        statistics.begin()
        for number in order:
            norm(batches[number])
            statistics.seen()
        statistics.end(len(order))
    statistics.release()
    assert norm.momentum == 1e-3
    return [value.clone() for value in norm.buffers()]


def test_running_statistics_do_not_depend_on_the_order_of_a_steps_batches() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(2, 3, 4, 5, 6, dtype=torch.float64) * (n + 1) + n for n in range(3)]
    one, other = (statistics_after(batches, order, 0.1) for order in ([0, 1, 2], [2, 0, 1]))
    torch.testing.assert_close(one, other, rtol=1e-14, atol=0)
    assert one[2] == 6  # batches counted


def test_running_statistics_go_as_far_as_the_batches_one_by_one_would_have() -> None:
    torch.manual_seed(0)
    batch = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    norm: nn.BatchNorm3d = batch_norm(3).double().train()
    norm.momentum = 0.1
    with torch.no_grad():
        assert norm.running_mean is not None
        norm.running_mean.fill_(0.5)
    for _ in range(6):
        norm(batch)
    torch.testing.assert_close(statistics_after([batch] * 3, [0, 1, 2], 0.1), list(norm.buffers()), rtol=1e-13, atol=0)


def test_a_cancelled_step_leaves_no_trace_in_the_statistics() -> None:
    norm = batch_norm(3).train()
    before = [value.clone() for value in norm.buffers()]
    statistics = RunningStatistics(norm, 0.1, Processes())
    statistics.begin()
    norm(torch.randn(2, 3, 4, 5, 6))
    statistics.seen()
    statistics.cancel()
    torch.testing.assert_close(list(norm.buffers()), before, rtol=0, atol=0)


# ---------------------------------------------------------------------------------------------------------- the pictures


@pytest.mark.parametrize("name", ["cash$$", "$x^$", "a\nb"])
def test_clips_are_named_as_they_are_and_not_as_formulas(name: str, tmp_path: Path) -> None:
    image, map_ = np.zeros((8, 12, 3), np.uint8), np.ones((8, 12), np.float32)
    draw_scenes(tmp_path / "scenes.png", [Scene(name, image, map_, map_)], "step 1")
    assert (tmp_path / "scenes.png").exists()


# ---------------------------------------------------------------------------------------------------------------- the log


def test_a_log_that_was_cut_short_is_read_and_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin_log(0)
    rows = [{"step": float(step), "loss": 1 / step, "lr": 0.1} for step in (1, 2, 3)]
    for row in rows:
        folder.write_row(row)
    with folder.log.open("a") as file:
        file.write("4,0.25,0.")
    assert folder.rows() == [pytest.approx(row) for row in rows]
    folder.begin_log(2)
    folder.write_row(rows[2])
    assert folder.rows() == [pytest.approx(row) for row in rows]


def as_a_spreadsheet_has_it(text: str) -> str:
    return text.replace(",", ";")


@pytest.mark.parametrize(
    "damage",
    [
        as_a_spreadsheet_has_it,
        lambda text: text.replace("0.5", "\0\0\0"),
        lambda text: text.replace("0.5", "1/2"),
        lambda text: text.replace("step,loss", "loss"),
        lambda text: text.replace("\n2,", "\n,"),
        lambda text: "\0\n" * 100,
    ],
)
def test_a_damaged_log_is_told_with_its_cure(damage: Callable[[str], str], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.begin_log(0)
    for step in (1, 2):
        folder.write_row({"step": float(step), "loss": 1 / step, "lr": 0.1})
    folder.log.write_text(damage(folder.log.read_text()))
    with pytest.raises(TrainingError, match=r"log\.csv: not the log of a run, or damaged; move it away, and --resume$"):
        folder.begin_log(2)
    folder.log.unlink()
    folder.begin_log(2)
    assert folder.rows() == []
