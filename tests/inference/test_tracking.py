"""Sources that move keep their tracks: against every pairing, and as the share of scenes of one identity."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from risolve.inference.tracking import Motion, Scene, follow, learned_motion
from tests.oracles import tracking as oracle

DEVIATION = np.array([0.005, 0.008, 0.03])
STILL = Motion(np.zeros(3), 0.0)
GAP, GATE = 3, 0.001


def moving(
    seed: int,
    starts: Sequence[Sequence[float]],
    steps: Sequence[Sequence[float]],
    *,
    n_scenes: int = 40,
    missed: float = 0.1,
    false: float = 0.3,
) -> tuple[list[Scene], list[np.ndarray]]:
    """Places of sources that go straight, some missed, and false ones anywhere; and whose they are, -1 of a
    false one.
    """
    random = np.random.default_rng(seed)
    scenes, owners = [], []
    for number in range(n_scenes):
        true = np.array(starts) + number * np.array(steps)
        seen = np.flatnonzero(random.random(len(true)) >= missed)
        n_false = random.poisson(false)
        found = true[seen] + DEVIATION * random.standard_normal((len(seen), 3))
        anywhere = random.uniform((-1.0, -0.5, 0.0), (1.0, 0.5, 1.5), (n_false, 3))
        owner = np.concatenate((seen, np.full(n_false, -1)))
        order = random.permutation(len(owner))
        places = np.concatenate((found, anywhere))[order]
        scenes.append(Scene(number, places, np.tile(DEVIATION, (len(places), 1))))
        owners.append(owner[order])
    return scenes, owners


def kept_share(tracks: Sequence[np.ndarray], owners: Sequence[np.ndarray]) -> float:
    """Share of the sources that have the track of their owner, of the best assignment of tracks to owners."""
    track, owner = np.concatenate(tracks), np.concatenate(owners)
    together = np.zeros((owner.max() + 1, track.max() + 1))
    np.add.at(together, (owner[owner >= 0], track[owner >= 0]), 1)
    rows, columns = linear_sum_assignment(-together)
    return float(together[rows, columns].sum() / (owner >= 0).sum())


CROSSING = (((-0.3, 0.0, 0.8), (0.31, 0.0, 0.8)), ((0.015, 0.0, 0.0), (-0.015, 0.0, 0.0)))
PARALLEL = (((-0.3, 0.0, 0.8), (-0.25, 0.0, 0.8)), ((0.015, 0.0, 0.0), (0.015, 0.0, 0.0)))
ONE_MOVES = (
    ((-0.5, 0.0, 0.8), (0.5, 0.2, 0.5), (0.0, -0.2, 1.0), (-0.6, 0.1, 0.3)),
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.03, 0.0, 0.0)),
)


@pytest.mark.parametrize("kept", [0.0, 0.97])
@pytest.mark.parametrize("seed", range(6))
def test_tracks_are_those_of_the_best_of_all_pairings(seed: int, kept: float) -> None:
    random = np.random.default_rng(100 + seed)
    scenes, _ = moving(seed, *CROSSING, n_scenes=25)
    scenes = [
        scene._replace(
            number=2 * scene.number if scene.number > 15 else scene.number,
            deviations=np.where(random.random(scene.places.shape) < 0.1, np.nan, scene.deviations),
        )
        for scene in scenes
    ]
    motion = Motion(np.array([0.02, 0.01, 0.05]), kept)
    expected = oracle.tracks(scenes, motion, 2, 0.01)
    assert [own.tolist() for own in follow(scenes, motion, 2, 0.01).tracks] == expected
    assert max(map(max, filter(None, expected))) > 1


@pytest.mark.parametrize("world", [CROSSING, PARALLEL, ONE_MOVES], ids=["crossing", "parallel", "one moves"])
def test_identities_last(world: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]) -> None:
    """A tenth of the sources missed, and 0.3 false ones a scene. Two sources that meet and swap for good
    leave a share of one half at worst.
    """
    shares = []
    for seed in range(2):
        scenes, owners = moving(seed, *world)
        motion = learned_motion(scenes, GAP, GATE)
        shares.append(kept_share(follow(scenes, motion, GAP, GATE).tracks, owners))
    assert np.mean(shares) > 0.95
    assert min(shares) > 0.85


def test_what_crosses_is_told_by_its_velocity() -> None:
    """Velocities that last are found to last. Two sources meet within two deviations, in one scene or two of
    40, which may swap there; expected at the last place, half of them swap for good.
    """
    motion = learned_motion(moving(0, *CROSSING, missed=0.0, false=0.0)[0], GAP, GATE)
    assert motion.kept > 0.9
    at_last = replace(motion, kept=0.0, deviation=np.array([0.03, 0.01, 0.03]))
    worlds = [moving(seed, *CROSSING, missed=0.0, false=0.0) for seed in range(6)]
    learned, last = (
        [kept_share(follow(scenes, own, GAP, GATE).tracks, owners) for scenes, owners in worlds]
        for own in (motion, at_last)
    )
    assert min(learned) > 0.9
    assert np.mean(last) < 0.9


def test_a_track_survives_its_gap_and_no_more() -> None:
    row, deviation = np.array([[0.1, 0.0, 0.5]]), DEVIATION[None]
    for away, tracks in ((3, [0, 0]), (4, [0, 1])):
        scenes = [Scene(0, row, deviation), Scene(1 + away, row, deviation)]
        assert np.concatenate(follow(scenes, STILL, 3, GATE).tracks).tolist() == tracks


def test_the_gate_shuts_out_the_probability_that_it_states() -> None:
    """d of two scenes is chi^2 of three coordinates: of n pairs n P are shut out, sd sqrt(n P (1 - P))."""
    random, n_pairs, gate = np.random.default_rng(1), 800, 0.1
    shut = 0
    for _ in range(n_pairs):
        found = np.array([0.1, 0.0, 0.5]) + DEVIATION * random.standard_normal((2, 1, 3))
        scenes = [Scene(number, places, DEVIATION[None]) for number, places in enumerate(found)]
        shut += int(follow(scenes, STILL, GAP, gate).tracks[1][0])
    assert abs(shut - n_pairs * gate) < 4.0 * np.sqrt(n_pairs * gate * (1.0 - gate))


def test_azimuths_count_round_the_circle() -> None:
    scenes = [
        Scene(number, np.array([[azimuth, 0.0, 0.5]]), DEVIATION[None])
        for number, azimuth in enumerate((3.141, -3.141, 3.14))
    ]
    assert np.concatenate(follow(scenes, STILL, GAP, GATE).tracks).tolist() == [0, 0, 0]


@pytest.mark.parametrize("untold", [(2,), (1, 2)])
def test_what_is_not_told_decides_nothing(untold: tuple[int, ...]) -> None:
    """Ranges of plane waves, and elevations of a line, are no number of the source."""
    scenes, owners = moving(1, *PARALLEL, missed=0.0, false=0.0)
    random = np.random.default_rng(2)
    for scene in scenes:
        scene.deviations[:, untold] = np.nan
    motion = learned_motion(scenes, GAP, GATE)
    own = [
        scene._replace(
            places=np.where(np.isnan(scene.deviations), random.uniform(0, 0.8, (2, 3)), scene.places)
        )
        for scene in scenes
    ]
    tracks = follow(scenes, motion, GAP, GATE).tracks
    np.testing.assert_array_equal(tracks, follow(own, motion, GAP, GATE).tracks)
    assert kept_share(tracks, owners) > 0.9


def test_a_source_of_no_deviation_is_a_track_for_itself() -> None:
    row = np.array([[0.1, 0.0, 0.5]])
    scenes = [Scene(number, row, np.full((1, 3), np.nan)) for number in range(3)]
    motion = learned_motion(scenes, GAP, GATE)
    assert np.concatenate(follow(scenes, motion, GAP, GATE).tracks).tolist() == [0, 1, 2]


def test_the_order_of_sources_permutes_the_tracks() -> None:
    scenes, _ = moving(3, *ONE_MOVES)
    motion = learned_motion(scenes, GAP, GATE)
    turned = [scene._replace(places=scene.places[::-1]) for scene in scenes]

    def together(tracks: list[np.ndarray]) -> np.ndarray:
        """Which sources of all scenes share a track."""
        track = np.concatenate(tracks)
        return track[:, None] == track

    expected = together(follow(scenes, motion, GAP, GATE).tracks)
    found = together([own[::-1] for own in follow(turned, motion, GAP, GATE).tracks])
    np.testing.assert_array_equal(found, expected)


def test_no_scene_and_no_source_have_no_track() -> None:
    empty = Scene(0, np.zeros((0, 3)), np.zeros((0, 3)))
    for scenes in ([], [empty]):
        motion = learned_motion(scenes, GAP, GATE)
        assert [own.tolist() for own in follow(scenes, motion, GAP, GATE).tracks] == [[]] * len(scenes)
