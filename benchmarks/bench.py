"""The state of one run: its programs, cores, peers and settings, and the proxies that are up at the moment.

Invariant: the peers that take part stand side by side, with the same service behind them and the same checks made.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import machine, origin, proc, verify
from benchmarks.loads import client, requests
from benchmarks.peers import Peer, Place
from benchmarks.processes import Cores, Program, Programs, StartError, free_port, wait_until_it_answers


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: figures by name, and flags that say in words what was wrong with it."""

    scenario: str
    case: str
    peer: str
    round: int
    figures: dict[str, float]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often. Seconds are per measurement; `chaos_s` and `seed` are those of the chaos run, None for
    its usual length, and for one drawn by chance."""

    seconds: float
    rounds: int
    quick: bool = False
    chaos_s: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is up and checked."""

    peer: Peer
    program: Program
    place: Place
    flags: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.peer.name

    def pids(self) -> list[int]:
        """All its processes, supervisors included: whatever they use is its cost."""
        return [process.pid for process in proc.tree(self.program.pid)]

    def workers(self) -> list[int]:
        """The processes that carry traffic."""
        return self.peer.worker_pids(self.program.pid)


@dataclass(slots=True)
class Bench:
    """See the module. `say` prints progress."""

    programs: Programs
    cores: Cores
    effort: Effort
    say: Callable[[str], None]
    service: origin.Origin
    descriptors: int
    configs: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    _standing: list[Proxy] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.programs.folder

    def place(self, peer: Peer, label: str, old: Sequence[str] = (), new: Sequence[str] = (),
              routes: int = 1, workers: int = 1) -> Place:
        """A place for `peer` in a folder of its own; the service's first servers unless others are named."""
        folder = self.folder / f"{peer.name}-{label}"
        folder.mkdir(exist_ok=True)
        return Place(port=free_port(), admin_port=free_port(), folder=folder, old=tuple(old) or self.service.old(),
                     new=tuple(new) or self.service.new(), routes=routes, workers=workers,
                     descriptors=self.descriptors)

    def start(self, peer: Peer, place: Place, check: bool = True, cores: Sequence[int] = ()) -> Proxy:
        """Write the configuration, start the proxy, wait for its first answer and check its work."""
        label = place.folder.name
        for name, text in peer.files(place).items():
            (place.folder / name).write_text(text)
            self.configs[f"{label}/{name}"] = text
        program = self.programs.start(label, peer.command(place), cores or [self.cores.proxy], peer.environ(place))
        wait_until_it_answers(program, lambda: answers(place.port))
        flags = verify.check(place.port, self.service.old_port) if check else ()
        for flag in flags:
            self.say(f"  ! {peer.title}: {flag}")
        return Proxy(peer, program, place, flags)

    def start_each(self, wanted: Iterable[tuple[Peer, Place]], check: bool = True) -> list[Proxy]:
        """Start several side by side; one that does not come up is noted and left out."""
        up = []
        for peer, place in wanted:
            try:
                up.append(self.start(peer, place, check))
            except StartError as error:
                self.note(peer.name, str(error))
        return up

    def note(self, name: str, why: str) -> None:
        """Remember and say why a figure of `name` is missing. No path of this machine goes into the results."""
        why = machine.anonymous(why, self.folder)
        self.notes.setdefault(name, []).append(why)
        self.say(f"  ! {name}: {why}")

    def standing(self, peers: Sequence[Peer]) -> list[Proxy]:
        """`peers` in their plain configuration, started when first asked for, up until `stop_standing`."""
        if not self._standing:
            self._standing = self.start_each((peer, self.place(peer, "plain")) for peer in peers)
        return self._standing

    def stop_standing(self) -> None:
        for each in self._standing:
            self.programs.stop(each.program)
        self._standing.clear()

    @contextlib.contextmanager
    def up(self, peer: Peer, place: Place, check: bool = True, cores: Sequence[int] = ()) -> Iterator[Proxy]:
        """A proxy for the length of a block."""
        one = self.start(peer, place, check, cores)
        try:
            yield one
        finally:
            self.programs.stop(one.program)


def answers(port: int) -> bool:
    """Whether a small request is answered with 200."""
    with client.connect(port, 2.0) as connection:
        return client.exchange(connection, requests.request(0, "/", "hello")).status == 200


def raise_descriptor_limit() -> int:
    """Raise the soft limit on descriptors to the hard one, for this process and what it starts. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(hard, 65_536)


def as_record(run: Run) -> dict[str, object]:
    """A run as it stands in the results file."""
    return {**asdict(run), "flags": list(run.flags)}
