"""The mini-batch driver."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, Unpack

import numpy as np

import graphc
from graphc.errors import FeedError, NonFiniteError, StateError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.metrics import Metric
from graphc.optim.base import Optimizer
from passes import pipelines
from passes.batch_norm import lower_batch_norm
from passes.ema import with_averages
from passes.forms import to_inference
from passes.manager import Pass
from passes.randomness import counter_based
from passes.train_step import LEARNING_RATE, LOSS, SEED, STEP, RandomSource, train_step
from passes.updates import UpdateOptions
from runtimes.batches import Batch, Loaded
from runtimes.batching import Batching, steps_in_a_call
from runtimes.callbacks import Callback
from runtimes.data import Dataset
from runtimes.device_state import state_on
from runtimes.epoch import Epoch
from runtimes.evaluation import evaluated, predicted
from runtimes.executor import Executor
from runtimes.feeds import FeedChecker, Feeds
from runtimes.history import History, Progress
from runtimes.index_ranges import index_ranges
from runtimes.learning_rate import LearningRate
from runtimes.nonfinite import find_cause
from runtimes.outputs import Outputs, as_graph, restructure
from runtimes.position import Position, parse_position
from runtimes.profile import Profile, profile_step
from runtimes.protocol import Program, RuntimeLike, as_runtime
from runtimes.resident import ResidentData
from runtimes.session import Device, RuntimeOptions
from runtimes.sources import Data, Source, as_source
from runtimes.state import State, complete_state, match_file, read_state, save_state
from runtimes.stepper import Stepper
from runtimes.totals import outputs_of, report

__all__ = ["History", "Trainer"]

_POSITION = "graphc.position"
_SCHEDULE = "graphc.schedule"
_VERSION = "graphc.version"


class Trainer:
    """Trains the parameters of a loss, one batch after another; state stays on the device in between.

    Steps run the training form of the model: dropout drops, batch normalization takes the statistics of the batch and
    advances the running ones. `evaluate` and `predict` run the inference form (:func:`graphc.to_inference`).

    `step` is the compiled :class:`passes.train_step.TrainStep`, `device` the device that really runs it ("cpu" or
    "cuda"), `epoch` the number of epochs done, `is_stopped` whether `stop` ended the last fit. A new value of
    `optimizer.learning_rate` holds from the next batch on.

    Args:
        loss: the scalar to minimize, a mean over the batch.
        optimizer: the update rule.
        metrics: what else to report, by name: scalars, means over the batch; or a `gc.metrics.Metric`.
        parameters: what to train; all trainable parameters of the loss when None.
        seed: seeds the initializers, the order of the batches, and dropout. Two runs with one seed are bit-identical.
        device: "cpu"; "cuda", an error where CUDA does not work; "auto", CUDA where it works and else the CPU.
        options: threads and other options of onnxruntime.
        runtime: what runs the steps: "onnxruntime", "reference" (ONNX's evaluator in NumPy), or an object of one's own
            (:class:`runtimes.protocol.Runtime`).
        state: first values by name, of parameters and of other state; what it lacks comes from the initializers.
        check_nan: whether a NaN in the data is an error.
        rng: "counter" draws dropout masks and other random numbers as functions of seed, step and layer, the same on
            every device and after resuming; "runtime" leaves them to onnxruntime, which is faster.
        freeze: patterns of names of parameters, such as `"backbone.*"`, to leave as they are.
        passes: what the graphs of the step and of the evaluation go through; when None, `gc.pipelines.train` with the
            gradients of convolutions for the device.
        update: groups, clipping, accumulation, averages: see :class:`passes.updates.UpdateOptions`.

    Raises:
        DifferentiationError: the loss depends on nothing to train, or has no gradient.
        GraphError: a metric or a state bears a reserved or repeated name, or a pattern matches no parameter.
        ShapeError: a metric is no scalar.
        StateError: an entry of `state` does not fit.
        UnavailableError: onnxruntime is not installed, lacks a kernel, or CUDA does not work.
    """

    def __init__(
        self,
        loss: Tensor,
        *,
        optimizer: Optimizer,
        metrics: Mapping[str, Tensor | Metric] | None = None,
        parameters: Sequence[Tensor] | None = None,
        seed: int = 0,
        device: Device = "auto",
        options: RuntimeOptions | None = None,
        runtime: RuntimeLike = "onnxruntime",
        state: State | None = None,
        check_nan: bool = False,
        rng: RandomSource = "counter",
        freeze: Sequence[str] = (),
        passes: Sequence[Pass] | None = None,
        **update: Unpack[UpdateOptions],
    ) -> None:
        self._metrics = dict(metrics or {})
        self.optimizer = optimizer
        self.seed = seed
        self._runtime = as_runtime(runtime, device=device, options=options)
        self.device = self._runtime.device
        self.step = train_step(
            loss,
            optimizer=optimizer,
            metrics=outputs_of(self._metrics),
            parameters=parameters,
            rng=rng,
            freeze=freeze,
            passes=pipelines.train_on(self.device) if passes is None else passes,
            **update,
        )
        self._check_nan = check_nan
        graph = self.step.graph
        first = complete_state(state, graph, seed)
        if SEED in first and SEED not in (state or {}):
            first[SEED] = np.array(seed % 2**63, np.int64)
        self._state = state_on(self._runtime, graph, first)
        self._executor = Executor(graph, self._load(graph), self._state)
        self._others: dict[Graph, Executor] = {}
        self._inputs = list(self.step.evaluation.feeds.values())
        self._ranges = index_ranges(as_graph([loss, *outputs_of(self._metrics).values()]))
        self._check = FeedChecker(self._inputs, check_nan=check_nan, ranges=self._ranges)
        self._position = Position()
        self._rate = LearningRate(optimizer, self.step.accumulate)
        self._stepper = Stepper(self._executor, self._rate, self._load)
        self.is_stopped = False

    # --- training -------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Data,
        *,
        batch_size: int | None = 32,
        epochs: int = 1,
        validation: Data | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        prefetch: int = 0,
        steps_per_call: int | Literal["auto"] = 1,
        resident: bool = False,
        callbacks: Iterable[Callback] = (),
        verbose: bool | None = None,
    ) -> History:
        """Train for `epochs` more epochs and return what they reported.

        An epoch that was interrupted (and perhaps saved, and loaded elsewhere) is finished first and counts as one, so
        that `epochs=total - trainer.epoch` trains the rest. The order of the rows is a function of the seed and the
        epoch alone.

        Args:
            data: arrays by input name or tensor, whose rows are the samples; a data set with a length and items, such
                as PyTorch's; or a stream of batches: anything to iterate over once an epoch, or a function that
                returns an iterator (`runtimes.sources.as_source`).
            batch_size: rows per batch, the last one may have fewer; None for all rows at once. Batches of a stream are
                taken as they come, as are their order and number.
            epochs: how many epochs to train.
            validation: data to evaluate on after each epoch.
            shuffle: whether to draw a new order of the rows for each epoch.
            drop_last: whether to leave out a smaller last batch.
            prefetch: how many batches to load ahead of time, in a background thread; for data from disk or from Python.
            steps_per_call: how many steps onnxruntime makes in one call, as far as batches of equal shapes follow one
                another; "auto" goes by an estimate of what a step costs. Faster where that is well below a
                millisecond, with the same results to the bit. Callbacks are told of each step, but after the call: the
                state is that after its last step then, which is also what checkpoints keep, and `stop` or a new
                learning rate hold from the next call on.
            resident: keep the data, which must be arrays, on the device, and let the step gather its rows there: for
                a GPU whose memory holds them. There is nothing to prefetch then.
            callbacks: what else to do.
            verbose: True prints a line for each epoch, False nothing; None prints, with a progress bar, in terminals.

        Raises:
            FeedError: the data do not match the inputs of the loss, or are empty, or a number is not positive.
            NonFiniteError: the loss became NaN or infinite; the trainer's state is that before the failing step.
        """
        train = self._source(data)
        held_out = None if validation is None else self._source(validation)
        size = train.rows_per_batch(batch_size)
        on_device = self._resident(train, size) if resident else None
        steps = steps_in_a_call(steps_per_call, self.step.graph, train, size, self._check)
        batching = Batching(on_device or train, size, shuffle, drop_last, 0 if resident else prefetch, steps)
        calls = list(callbacks)
        history = History()
        self.is_stopped = False
        end = self.epoch + epochs  # an epoch whose rows are all done, but that was saved before its end, is one of them
        self._position = batching.settled(self._position, self.step_count)
        for call in calls:
            call.on_fit_begin(self)
        with Progress(verbose, end) as progress, self._stepper.reading(on_device):
            while self.epoch < end and not self.is_stopped:
                started = time.perf_counter()
                epoch = self.epoch
                with self._explained():
                    logs = self._epoch(batching, calls, progress)
                if self.epoch == epoch:
                    break  # stopped within the epoch
                if held_out is not None:
                    means = self._evaluate(held_out, batch_size)
                    logs |= {f"val_{name}": value for name, value in means.items()}
                self._rate.observe(logs)
                logs["seconds"] = time.perf_counter() - started
                history.record(logs)
                progress.end(self.epoch, logs)
                for call in calls:
                    call.on_epoch_end(epoch, logs, self)
        for call in calls:
            call.on_fit_end(history, self)
        return history

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell whoever interrupts where training stands."""
        try:
            yield
        except KeyboardInterrupt as error:
            error.add_note(
                f"graphc: interrupted after step {self.step_count}, in epoch {self.epoch + 1}. The trainer's state is "
                "whole: fit goes on from here, and save keeps it."
            )
            raise

    def _source(self, data: Data) -> Source:
        """The data for the loss, checked."""
        return as_source(data, self._inputs, check_nan=self._check_nan, ranges=self._ranges)

    def _resident(self, data: Source, batch_size: int) -> ResidentData:
        """The data, copied to the device."""
        if not isinstance(data, Dataset):
            raise FeedError(
                f"resident=True: the data are no arrays; expected arrays by input name{location()}. Put items or "
                "batches together in arrays first, or leave out resident=True."
            )
        self._check.sizes(data.shapes(batch_size))
        return ResidentData(data, self._runtime)

    def _epoch(self, batching: Batching, calls: list[Callback], progress: Progress) -> dict[str, Any]:
        """Train the rest of the running epoch; loss and metrics over its batches."""
        start = self._position = replace(self._position, batch=batching.rows)
        progress.begin(start.epoch + 1, batching.count)
        epoch = Epoch(self, self._stepper, self._metrics, calls, bool(calls) or progress.is_drawn, self._fail)
        ended = False
        try:
            with contextlib.closing(batching.batches(start, self.seed)) as batches:
                for batch in batches:
                    epoch.train(batch)
                    if self.is_stopped:
                        break
                    progress.advance(start.row // start.batch + epoch.step - start.step, epoch.logs)
                else:
                    ended = True
        finally:
            self._position = batching.settled(self._position, self.step_count, ended)
        if not (epoch.step - start.step or start.row):
            raise FeedError(f"the data gave no batch in epoch {start.epoch + 1}; expected at least one{location()}")
        return epoch.totals.result()

    def _fail(self, batch: Batch) -> NoReturn:
        """Say why the loss of a batch is not finite. The state is that before the step."""
        step = self.step_count
        epoch, row = self._position.at(step)
        where = f"step {step + 1} (epoch {epoch + 1}{f', {row} rows in' if row else ''})"
        finite = self._stepper.last_finite
        last = "there was no finite loss before" if finite is None else f"the last finite one was {finite:.6g}"
        only_loss = as_graph({LOSS: self.step.graph.outputs[0]})
        cause = find_cause(only_loss, batch.arrays(), self.state, self._runtime)
        raise NonFiniteError(
            f"the loss is {self._stepper.loss} at {where}; {last}{location()}. {cause} Try a learning rate below "
            f"{self._rate(step):g}, look for NaN in the data with check_nan=True, and for log, division or exp of "
            "extreme values in the loss."
        )

    def train_step(self, batch: Feeds) -> dict[str, Any]:
        """Train on one batch; its loss and metrics, computed before the update.

        Raises FeedError when the batch does not match the inputs, NonFiniteError as `fit` does.
        """
        arrays, _ = self._check(batch)
        loaded, done = Loaded(arrays), self.step_count
        results = self._stepper.run(loaded, done)
        if results is None:
            self._fail(loaded)
        self._position = self._position.moved(done, done + 1)
        return report(self._metrics, results)

    def profile(self, batch: Feeds, *, steps: int = 20) -> Profile:
        """Where the time of a step on `batch` goes: operators with layer and user line. The state does not change.

        Raises FeedError when the batch does not match the inputs.
        """
        arrays, _ = self._check(batch)
        feeds = {**arrays, LEARNING_RATE: np.asarray(self._rate(self.step_count), np.float32)}
        return profile_step(self.step.graph, self.state, feeds, self._runtime, steps)

    def stop(self) -> None:
        """End the running fit after the call, or the epoch, that is being done. For callbacks."""
        self.is_stopped = True

    # --- evaluation -----------------------------------------------------------------------------------------------

    def evaluate(self, data: Data, *, batch_size: int | None = 256, ema: bool = False) -> dict[str, Any]:
        """Loss and metrics on `data`, exact over batches of unequal size for means over rows and for each Metric.

        With `ema`, the moving averages of the parameters are used. Raises FeedError when the data do not match the
        inputs of the loss, or are empty, and StateError when there are no averages.
        """
        return self._evaluate(self._source(data), batch_size, ema)

    def _evaluate(self, data: Source, batch_size: int | None, ema: bool = False) -> dict[str, Any]:
        graph = self.step.evaluation
        executor = self._executor_of(with_averages(graph, self._averages) if ema else graph)
        return evaluated(executor, data.batches(batch_size), self._metrics)

    def predict(self, outputs: Outputs, data: Data, *, batch_size: int | None = 256, ema: bool = False) -> Any:
        """The values of `outputs` (tensors of the model, with a row for each row of `data`) as arrays.

        `data` needs the inputs that `outputs` depend on; other inputs of the loss may be there too. The result has the
        structure of `outputs`. With `ema`, the moving averages of the parameters are used.

        Raises:
            FeedError: the data do not match the inputs.
            ShapeError: an output has no row for each row of the data.
            StateError: an output depends on a parameter that the loss does not depend on, or there are no averages.
        """
        graph = lower_batch_norm(to_inference(as_graph(outputs)))
        graph = with_averages(graph, self._averages) if ema else graph
        executor = self._executor_of(graph)
        extra = [str(t.name) for t in self._inputs if str(t.name) not in graph.feeds]
        source = as_source(data, list(graph.feeds.values()), extra=extra, check_nan=self._check_nan, ranges={})
        return restructure(outputs, predicted(executor, source.batches(batch_size)))

    def compute(self, outputs: Outputs, batch: Feeds) -> Any:
        """The values of any tensors for one batch and the current state, in training form: activations, gradients.

        The result has the structure of `outputs`; random operators draw what the next step will draw. `batch` may hold
        inputs that `outputs` do not need. Raises FeedError, and StateError for a parameter that the loss does not have.
        """
        graph, state = lower_batch_norm(as_graph(outputs)), self.step.graph.parameters
        if SEED in state:
            graph = counter_based(graph, state[SEED], state[STEP])
        executor = self._executor_of(graph)
        names = {key: key.name if isinstance(key, Tensor) else key for key in batch}
        arrays, _ = executor.check({key: value for key, value in batch.items() if names[key] in graph.feeds})
        return restructure(outputs, [value.copy() for value in executor.run(arrays).values()])

    def _executor_of(self, graph: Graph) -> Executor:
        found = self._others.get(graph)
        if found is None:
            found = self._others[graph] = Executor(graph, self._load(graph), self._state)
        return found

    def _load(self, graph: Graph) -> Program:
        return self._runtime.compile(graph, {})

    # --- state ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Array]:
        """Copies of all state by name: parameters, optimizer slots and `step`. Assigning replaces all of it.

        Raises StateError when what is assigned does not match.
        """
        return self._state.read()

    @state.setter
    def state(self, state: State) -> None:
        before = self.step_count
        self._state.write(state)
        self._position = self._position.moved(before, self.step_count)

    @property
    def parameters(self) -> dict[str, Array]:
        """Copies of the parameters of the model alone, by name."""
        state = self.state
        return {name: state[name] for name in self.step.evaluation.parameters}

    @property
    def _averages(self) -> Mapping[str, Tensor]:
        if not self.step.averages:
            raise StateError(f"the trainer keeps no moving averages{location()}; make it with ema=0.999")
        return self.step.averages

    @property
    def ema_parameters(self) -> dict[str, Array]:
        """Copies of the parameters of the model, the moving averages of those that have one; to export, for example.

        Raises StateError when the trainer was made without `ema`.
        """
        held, averages = self.state, self._averages
        return {
            name: held[str(averages[name].name)].astype(value.dtype) if name in averages else value
            for name, value in self.parameters.items()
        }

    @property
    def step_count(self) -> int:
        """How many steps the state has behind it."""
        return int(self._state.read_one(STEP))

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self._position.at(self.step_count)[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all state and the position in the epoch to a safetensors file, whole or not at all.

        Raises ExportError when the file cannot be written.
        """
        position = self._position.save(self.step_count, self.seed)
        metadata = {_VERSION: graphc.__version__, _POSITION: position, _SCHEDULE: self._rate.save()}
        save_state(self.state, path, metadata)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continue from a file of `save`: the next fit does what it would have done then, bit for bit.

        A state file without a position starts at epoch 0. Raises StateError, and changes nothing, when the file is
        corrupt or does not match.
        """
        state, metadata = read_state(path)
        matched = match_file(state, path, self.step.graph)
        try:
            epoch, row, seed = parse_position(metadata.get(_POSITION, "{}"), self.seed)
        except (TypeError, ValueError) as error:
            raise StateError(
                f"{os.fspath(path)!r}: {_POSITION} is {metadata[_POSITION]!r}: {error}{location()}"
            ) from None
        self._rate.load(metadata.get(_SCHEDULE, ""))
        self._state.write(matched)
        self.seed = seed
        self._position = Position(epoch, row, self.step_count)
