"""Recipes: what files and command lines may say, and what they are told where they may not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tased_net import cli
from tased_net.commands.train import GROUPS
from tased_net.recipes import KEYS, NAMED, Recipe, RecipeError, conflicts, load_recipe
from tased_net.weights import ARCHITECTURE


def test_the_default_is_the_papers_protocol() -> None:
    paper = load_recipe("paper")
    assert paper == Recipe()
    assert (paper.batch * paper.accumulate, paper.steps, paper.drops) == (40, 1000, (750, 950))
    assert (paper.momentum, paper.weight_decay, paper.encoder_lr, paper.lr) == (0.9, 2e-7, 1e-3, 0.1)
    assert [paper.drops_before(step) for step in (1, 750, 751, 950, 951)] == [0, 0, 1, 1, 2]


def test_the_small_recipe_is_for_one_gpu() -> None:
    small = load_recipe("small")
    assert (small.batch, small.accumulate, small.steps, small.drops) == (2, 5, 1750, (1000, 1500))


def test_a_recipe_is_written_so_that_it_reads_back(tmp_path: Path) -> None:
    recipe = Recipe(data='a "b" \\ ü', dataset="dhf1k", drops="plateau", clip_gradient=1.5, denser=True, ema=0.999)
    file = tmp_path / "recipe.toml"
    for written in (recipe, Recipe(), replace(recipe, drops=(), width=0.25)):
        file.write_text(written.text(), encoding="utf-8")
        assert load_recipe(str(file)) == written


def test_changes_take_the_place_of_the_files_values(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("batch = 3\nlr = 1\nwidth = 0.5\n")
    recipe = load_recipe(str(file), {"batch": 4, "drops": [5, 6]})
    assert recipe == Recipe(batch=4, lr=1.0, width=0.5, drops=(5, 6))


def test_a_file_beats_a_named_recipe_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("batch = 1\n")
    assert load_recipe("small").batch == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("acumulate = 2", "'acumulate' is no key of a recipe: did you mean 'accumulate'?"),
        ("zzz = 2", "'zzz' is no key of a recipe: take it out"),
        ("batch = 0", "batch must be a whole number of at least 1, got 0"),
        ("batch = 2.5", "batch must be a whole number of at least 1, got 2.5"),
        ("batch = true", "batch must be a whole number of at least 1, got True"),
        ("seed = 99999999999999999999", "seed must be a whole number from 0 to 2**63 - 1, got 99999999999999999999"),
        ("lr = -1", "lr must be a number of at least 0, got -1"),
        ("lr = inf", "lr must be a number of at least 0, got inf"),
        ("momentum = 1", "momentum must be a number from 0 to below 1, got 1"),
        ("clip_gradient = 0", "clip_gradient must be a positive number, got 0"),
        ("compile = 1", "compile must be true or false, got 1"),
        ('loss = "mse"', "loss must be kl, cc, sim or nss, or a sum of them such as kl+0.1*cc, got 'mse'"),
        ("loss = 1", "loss must be kl, cc, sim or nss, or a sum of them such as kl+0.1*cc, got 1"),
        ('size = "224"', "size must be HxW such as 224x384, both at least 17, got '224'"),
        ('size = "16x384"', "size must be HxW such as 224x384, both at least 17, got '16x384'"),
        ("drops = [950, 750]", "drops must be steps in rising order such as 750,950, or plateau, got [950, 750]"),
        ('drops = "flat"', "drops must be steps in rising order such as 750,950, or plateau, got 'flat'"),
        ("clip_length = 12", "clip_length must be 4 or a multiple of 8, got 12"),
        ('dataset = "salicon"', "dataset must be one of dhf1k, hollywood2, ucfsports, folder, got 'salicon'"),
        ('data = ""', "data must be a text in UTF-8, got ''"),
        ("[batch]", "batch must be a whole number of at least 1, got {}"),
    ],
)
def test_an_error_names_the_file_the_key_and_the_cure(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=f"^{re.escape(f'{file}: {sentence}')}$"):
        load_recipe(str(file))


def test_what_is_no_recipe_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for content in (b"batch 2", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(RecipeError, match=r"mine\.toml: not a TOML file \("):
            load_recipe(str(file))
    names = ", ".join(NAMED)
    for name in ("papr", str(tmp_path)):
        with pytest.raises(
            RecipeError, match=rf"^{name}: no such recipe \(.*\); name a \.toml file, or one of {names}$"
        ):
            load_recipe(name)


def test_a_resumed_run_may_change_what_changes_no_result() -> None:
    begun = Recipe(data="here", width=0.5, clip_length=32)
    assert conflicts(begun, replace(begun, data="there", steps=2000, workers=0, save_every=1, max_skipped=9)) == []
    assert conflicts(begun, replace(begun, width=None)) == []  # whatever it is
    assert conflicts(begun, replace(begun, seed=1, lr=0.2, width=0.25, clip_gradient=1.0)) == [
        "width",
        "lr",
        "clip_gradient",
        "seed",
    ]


def test_every_key_is_an_option_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = capsys.readouterr().out
    for name in KEYS:
        assert f"--{name.replace('_', '-')}" in shown
    assert sorted([*ARCHITECTURE, "data", *(name for names in GROUPS.values() for name in names.split())]) == sorted(
        KEYS
    )


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--batch", "0"), "argument --batch: want a whole number of at least 1, got '0'"),
        (("--lr", "fast"), "argument --lr: want a number of at least 0, got 'fast'"),
        (("--drops", "9,x"), "argument --drops: want steps in rising order such as 750,950, or plateau, got '9,x'"),
        (("--loss", "mse"), "argument --loss: want kl, cc, sim or nss, or a sum of them such as kl+0.1*cc, got 'mse'"),
        (("--size", "9x9"), "argument --size: want HxW such as 224x384, both at least 17, got '9x9'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: tuple[str, str], sentence: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "-o", "run", *option])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f"tased train: error: {sentence}\n")


def test_an_error_in_a_recipe_is_one_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text("step = 5")
    arguments = ["train", "-o", str(tmp_path / "run")]
    assert cli.main([*arguments, "--recipe", str(tmp_path / "mine.toml")]) == 2
    assert "mine.toml: 'step' is no key of a recipe: did you mean 'steps'?" in capsys.readouterr().err
    assert cli.main([*arguments, "--clip-length", "12"]) == 2
    assert "error: clip_length must be 4 or a multiple of 8, got 12\n" in capsys.readouterr().err
    assert cli.main(arguments) == 2
    assert "nothing to train on: give data and dataset, on the command line or in the recipe" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_path_that_no_recipe_can_hold_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"^data must be a text in UTF-8, got '/d/caf\\udce9'$"):
        load_recipe("small", {"data": "/d/caf\udce9"})


def test_a_recipe_that_notepad_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbfsteps = 7\r\n")
    assert load_recipe(str(tmp_path / "mine.toml")).steps == 7
