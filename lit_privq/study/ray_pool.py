"""Workers on a Ray cluster: one that runs already, or one that is started here."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from lit_privq.study.plan import Stage
from lit_privq.study.workers import Call, Outcome, Resources, run_call


class RayPool:
    """Calls as Ray tasks, placed by their resources; Ray retries nothing, as that is the engine's part.

    Args:
        environment: set in the workers before they import anything.
        address: of a running cluster; None for one that is started here, and ended at the end.
        cpus: of a cluster that is started here; None for all of this machine's.

    Raises:
        ValueError: if Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, environment: Mapping[str, str], address: str | None = None, cpus: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError("--engine ray needs ray; install it with: pip install 'lit_privq[ray]'") from error
        self._ray: Any = ray
        self._calls: dict[Any, Call] = {}  # by Ray's reference to what they return
        self.environment, self.address, self.cpus = dict(environment), address, cpus

    def __enter__(self) -> Self:
        """Connect, or start a cluster."""
        _check_reachable(self.address)
        environment = {**self.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
        started = {"address": "local", "num_cpus": self.cpus, "include_dashboard": False, "object_store_memory": 2**27}
        where: dict[str, Any] = {"address": self.address} if self.address else started
        try:
            self._ray.init(
                **where,
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"there must be a Ray cluster at --address {self.address}; got {' '.join(str(error).split())[:200]}"
            ) from error
        self._run = self._ray.remote(max_retries=0)(_run_in)
        self._has_gpus = bool(self._ray.cluster_resources().get("GPU"))
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel what is running; what it was writing is not in place yet."""
        for reference in self._calls:
            self._ray.cancel(reference, force=True)
        if self._calls:
            self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=10)
        self._ray.shutdown()

    def check_fits(self, resources: Mapping[Stage, Resources]) -> None:
        """Refuse jobs that no machine of the cluster can hold: Ray would wait for one for ever.

        Raises:
            ValueError: naming the stage.
        """
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        for stage, needed in resources.items():
            asked = {"CPU": needed.cpus, "GPU": needed.gpu * needed.asked, "memory": needed.memory}
            if not any(all(machine.get(name, 0) >= n for name, n in asked.items()) for machine in machines):
                most = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in asked}
                raise ValueError(
                    f"a machine of the Ray cluster must hold a job of {stage}, which takes {_amounts(asked)}; "
                    f"the most that any has is {_amounts(most)}, lower the resources of {stage}"
                )

    @property
    def size(self) -> int:
        """Cores of the cluster, which may grow; Ray knows what fits."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    @property
    def running(self) -> list[Call]:
        """Calls that were started and have not ended."""
        return list(self._calls.values())

    def start(self, call: Call) -> None:
        """Hand a call to Ray."""
        needed = call.resources
        gpu = needed.gpu if self._has_gpus else 0
        options = {"num_cpus": needed.cpus, "num_gpus": gpu, "memory": needed.memory or None, "name": call.name}
        self._calls[self._run.options(**options).remote(Path.cwd(), call)] = call

    def wait(self, timeout: float) -> list[tuple[Call, Outcome]]:
        """Calls that ended, waiting up to `timeout` seconds for the first."""
        done, _ = self._ray.wait(list(self._calls), timeout=timeout)
        if done:  # and whatever else has
            done, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        return [(self._calls.pop(reference), self._outcome(reference)) for reference in done]

    def _outcome(self, reference: Any) -> Outcome:  # noqa: ANN401  # Ray's
        """What a call returned; one whose machine or process died has failed."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
        except errors.OutOfMemoryError:
            return Outcome(error="its process was killed, as the memory of its machine ran out")
        except errors.WorkerCrashedError:
            return Outcome(error="its process or its machine died")
        except errors.RayError as error:
            lost = isinstance(error, errors.NodeDiedError | errors.ObjectLostError | errors.LocalRayletDiedError)
            return Outcome(error=f"Ray: {type(error).__name__}: {' '.join(str(error).split())[:300]}", is_lost=lost)
        return outcome


def _amounts(of: Mapping[str, float]) -> str:
    return f"{of['CPU']:g} cpus, {of['GPU']:g} gpu and {of['memory'] / 2**30:.3g} GiB"


def _check_reachable(address: str | None) -> None:
    """Refuse an address where nobody listens, at which Ray itself tries for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not port.isdigit() or "/" in host:  # none, `auto`, or a Ray client's
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(f"there must be a Ray cluster at --address {address}; {error}") from error


def _run_in(folder: Path, call: Call) -> Outcome:
    """Make a call in the folder where the study was started: paths are relative to it."""
    try:
        os.chdir(folder)
    except OSError as error:
        return Outcome(error=f"{folder} must be there on every machine of the cluster; {error}", is_final=True)
    return run_call(call)
