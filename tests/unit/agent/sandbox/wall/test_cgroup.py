"""cgroup v2 in a directory that looks like the kernel's; this needs no rights and no kernel."""

from pathlib import Path

from atoll_agent.sandbox.limits import MIB, Limits
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.wall.cgroup import Cgroup, find, make, memory_max

OWN = "0::/agent.service\n"


def hierarchy(folder: Path, *, controllers: str = "cpu memory pids", handed: str = "") -> Path:
    """A hierarchy with the agent's cgroup, as far as files of a directory can be one."""
    service = folder / "agent.service"
    service.mkdir()
    (folder / "cgroup.controllers").write_text(controllers)
    (service / "cgroup.subtree_control").write_text(handed)
    (service / "cgroup.procs").write_text("41\n42\n")
    return folder


def run_cgroup(folder: Path) -> Path:
    """The files that the kernel would put into a new cgroup."""
    path = folder / "run"
    path.mkdir()
    for name in ("memory.max", "memory.swap.max", "pids.max", "cgroup.procs", "cgroup.kill"):
        (path / name).write_text("")
    (path / "memory.events").write_text("low 0\noom 0\noom_kill 0\n")
    (path / "cpu.stat").write_text("usage_usec 1234567\nuser_usec 1\n")
    (path / "memory.peak").write_text("4096\n")
    return path


def test_v1_is_not_v2(tmp_path: Path) -> None:
    assert "not cgroup v2" in str(find("1:memory:/x\n", tmp_path))


def test_a_hierarchy_without_controllers_says_which_are_missing(tmp_path: Path) -> None:
    root = hierarchy(tmp_path, controllers="cpu")
    assert "no memory and no pids controller" in str(find(OWN, root))


def test_a_process_in_no_v2_cgroup_is_told(tmp_path: Path) -> None:
    assert "in no cgroup v2" in str(find("12:pids:/x\n", hierarchy(tmp_path)))


def test_a_cgroup_that_cannot_be_changed_is_told(tmp_path: Path) -> None:
    root = hierarchy(tmp_path)
    (root / "agent.service/cgroup.subtree_control").unlink()
    assert "delegated" in str(find(OWN, root))


def test_the_agents_cgroup_is_found_also_from_its_leaf(tmp_path: Path) -> None:
    root = hierarchy(tmp_path)
    assert find(OWN, root) == root / "agent.service"
    assert find("0::/agent.service/agent\n", root) == root / "agent.service"


def test_without_the_kernels_files_no_cgroup_is_left_behind(tmp_path: Path) -> None:
    root = hierarchy(tmp_path, handed="memory pids")
    # A plain directory gets no memory.max by being made: as when a controller is withdrawn.
    made = make("run-1", Limits(), root=root, own=OWN)
    assert isinstance(made, str)
    assert not (root / "agent.service/run-1").exists()


def test_a_hierarchy_that_takes_no_leaf_is_told(tmp_path: Path) -> None:
    made = make("run-1", Limits(), root=hierarchy(tmp_path), own=OWN)
    assert "delegated" in str(made)  # the leaf has no cgroup.procs


def test_a_killed_guest_is_seen(tmp_path: Path) -> None:
    group = Cgroup(path=run_cgroup(tmp_path))
    assert group.problem() is None
    (group.path / "memory.events").write_text("oom 3\noom_kill 2\n")
    assert group.problem() is Kind.OUT_OF_MEMORY


def test_what_it_counted_can_be_read_and_what_is_missing_is_nothing(tmp_path: Path) -> None:
    group = Cgroup(path=run_cgroup(tmp_path))
    assert (group.cpu_ms(), group.memory_bytes()) == (1234, 4096)
    gone = Cgroup(path=tmp_path / "gone")
    assert (gone.cpu_ms(), gone.memory_bytes(), gone.problem()) == (0, None, None)
    gone.kill()
    gone.remove()


def test_processes_are_added_and_killed_by_the_kernels_files(tmp_path: Path) -> None:
    group = Cgroup(path=run_cgroup(tmp_path))
    group.add(77)
    group.kill()
    assert (group.path / "cgroup.procs").read_text() == "77"
    assert (group.path / "cgroup.kill").read_text() == "1"


def test_the_memory_limit_has_room_for_files_in_memory() -> None:
    limits = Limits(memory_bytes=MIB, scratch_bytes=2, output_bytes=3, log_bytes=4)
    assert memory_max(limits) == MIB + 2 + 3 + 8
