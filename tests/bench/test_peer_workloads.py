"""The workloads, graphc's programs of their tiny forms, and what the environments are made of."""

import subprocess

import numpy as np
import pytest

from bench.peers import environments
from bench.peers.environments import PEERS, EnvironmentFailure
from bench.peers.with_graphc import program
from bench.peers.workloads import TINY, WORKLOADS, Workload, chain, described, mlp

LOSSES = 12


def first_losses(workload: Workload) -> list[float]:
    step = program(workload, threads=1)
    return [float(step(workload.batches[n % len(workload.batches)])) for n in range(LOSSES)]


@pytest.mark.parametrize("name", TINY)
def test_graphc_trains_the_tiny_form(name):
    losses = first_losses(TINY[name]())
    assert np.all(np.isfinite(losses))
    assert len(set(losses)) > 1


def test_losses_of_the_mlp_are_those_of_numpy():
    """Gradient descent by hand: linear, relu, linear, mean cross entropy."""
    workload = mlp("sgd", width=8, batch=16, depth=1, inputs=5)
    w = {name: array.astype("float64") for name, array in workload.weights.items()}
    expected = []
    for number in range(LOSSES):
        batch = workload.batches[number % len(workload.batches)]
        x, y, rows = batch["x"].astype("float64"), batch["y"], np.arange(16)
        hidden = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
        logits = hidden @ w["fc2.weight"].T + w["fc2.bias"]
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected.append(-np.log(p[rows, y]).mean())
        p[rows, y] -= 1
        g = p / 16
        h = (g @ w["fc2.weight"]) * (hidden > 0)
        moves = {"fc2.weight": g.T @ hidden, "fc2.bias": g.sum(0), "fc1.weight": h.T @ x, "fc1.bias": h.sum(0)}
        w = {name: array - workload.learning_rate * moves[name] for name, array in w.items()}
    np.testing.assert_allclose(first_losses(workload), expected, rtol=2e-6)


def test_every_workload_has_a_tiny_form_of_the_same_network():
    assert set(TINY) == set(WORKLOADS)
    for name in ("xor", "mlp-adam", "lenet"):
        tiny, whole = described({"workload": name, "tiny": True}), described({"workload": name})
        assert (tiny.network, tiny.optimizer, list(tiny.weights)) == (
            whole.network,
            whole.optimizer,
            list(whole.weights),
        )


def test_sizes_can_be_asked_for():
    assert described({"workload": "mlp", "sizes": {"width": 3, "depth": 4}}).sizes["depth"] == 4
    assert described({"workload": "chain", "sizes": {"nodes": 7}}).sizes == chain(7).sizes


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_pins_its_requirements(peer):
    wanted = environments.requirements(PEERS[peer].environment)
    assert wanted == ("--editable=.[cpu]",) if peer == "graphc" else all("==" in w for w in wanted)


def test_a_peer_without_a_module_is_named():
    with pytest.raises(EnvironmentFailure, match=r"there is no peer nobody: no file with_nobody\.py"):
        environments.requirements("nobody")


def test_an_environment_is_made_once_and_again_when_its_requirements_change(tmp_path, monkeypatch):
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (tmp_path / "torch").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    python = environments.python("torch", tmp_path)
    assert python == tmp_path / "torch" / "bin" / "python"
    assert [command[2] for command in commands] == ["venv", "pip"]
    environments.python("torch", tmp_path)
    assert len(commands) == 2
    monkeypatch.setattr(environments, "requirements", lambda name: ("torch==9",))
    environments.python("torch", tmp_path)
    assert commands[-1][-1] == "torch==9"


def test_an_environment_that_cannot_be_made_says_by_which_command(tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], 1, "", "no network")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: done)
    with pytest.raises(EnvironmentFailure, match=r"-m venv --clear .* ended with 1: no network"):
        environments.python("torch", tmp_path)
    assert not (tmp_path / "torch").exists()
