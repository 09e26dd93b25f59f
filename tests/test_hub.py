"""A run is written for the Hub, read back with the same logits, and sent as the request says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import roadmap
from roadmap.cli import hub
from roadmap.errors import RunError, WeightsError
from roadmap.model.weights import load_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with data and outputs in a place that nobody else is to learn."""
    output_dir = tmp_path_factory.mktemp("secret")
    step = {"roadmap": "step7_kernel,kernel_size=5", "recipe": {"epochs": 1, "ema_decay": 0.9}}
    return roadmap.train(**step, output_dir=output_dir, progress=False).path


def test_a_folder_gives_back_the_network_of_the_run(run: Path, tmp_path: Path) -> None:
    roadmap.save_pretrained(run, tmp_path)
    network = roadmap.from_pretrained(tmp_path)
    expected = roadmap.build_model(roadmap.compose(roadmap="step7_kernel,kernel_size=5")).eval()
    load_weights(expected, f"{run}/checkpoint.pt:raw")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(images), expected(images))
    roadmap.save_pretrained(run, tmp_path, weights="ema")
    assert not torch.equal(roadmap.from_pretrained(tmp_path)(images), expected(images))


def test_the_card_is_made_from_the_record_and_names_no_place(run: Path, tmp_path: Path) -> None:
    roadmap.save_pretrained(run, tmp_path)
    card = (tmp_path / "README.md").read_text()
    top1 = json.loads((run / "summary.json").read_text())["top1"]
    assert f"{top1:.2f}% on the validation images" in card
    assert f"{top1:.2f}%, n = 1" in card
    assert "kernel_size" in card
    assert (tmp_path / "block.png").read_bytes().startswith(b"\x89PNG")
    for file in ("README.md", "config.yaml"):
        assert "secret" not in (tmp_path / file).read_text()


def test_the_card_is_of_the_published_weights_their_images_and_their_start(run: Path, tmp_path: Path) -> None:
    tuned = roadmap.train(
        roadmap="step7_kernel,kernel_size=5",
        init_from=str(run),
        recipe={"epochs": 1, "ema_decay": 0.9},
        data={"holdout": 200},
        output_dir=run.parents[2],
        experiment="tuned",
        progress=False,
    )
    results = json.loads((tuned.path / "summary.json").read_text())
    assert results["top1"] != results["ema_top1"]
    for weights, key, of in (("raw", "top1", ""), ("ema", "ema_top1", ", of the averaged weights")):
        roadmap.save_pretrained(tuned.path, tmp_path, weights=weights)
        card = (tmp_path / "README.md").read_text()
        assert f"| {results[key]:.2f}% on 200 held-out training images, last epoch{of} |" in card
        assert f"| {results[key]:.2f}%, n = 1{of} |" in card
        assert "| started from | `.../step7_kernel,kernel_size=5/seed0` |" in card
        assert "init_from=.../step7_kernel,kernel_size=5/seed0" in card
        assert "secret" not in card


def test_the_request_creates_the_repository_and_sends_the_folder(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    class Api:
        def create_repo(self, repo_id: str, **options: Any) -> str:
            sent["create"] = repo_id, options
            return f"https://example.org/{repo_id}"

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
            sent["card"] = Path(folder_path, "README.md").read_text()
            sent["files"] = sorted(path.name for path in Path(folder_path).iterdir())

    monkeypatch.setattr(hub, "HfApi", Api)
    assert roadmap.push_to_hub(run, "me/net", private=True) == "https://example.org/me/net"
    assert sent["create"] == ("me/net", {"private": True, "exist_ok": True})
    assert 'roadmap.from_pretrained("me/net")' in sent["card"]
    assert sent["files"] == ["README.md", "block.png", "config.yaml", "model.safetensors"]


def test_what_cannot_be_written_or_read_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        roadmap.save_pretrained(tmp_path / "nothing" / "seed0", tmp_path)
    with pytest.raises(WeightsError, match="has raw, ema"):
        roadmap.save_pretrained(run, tmp_path, weights="best")
    with pytest.raises(WeightsError, match=r"has no config\.yaml"):
        roadmap.from_pretrained(tmp_path)
