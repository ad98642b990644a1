from __future__ import annotations

import numpy as np
import pytest

from hermnet.analysis.findings import Findings, RelationFacts
from hermnet.analysis.frames import Errors
from hermnet.analysis.served import Relation


def found(exchange: list[list[float]] | None, edges: tuple[int, ...] = (900, 50)) -> Findings:
    """Two relations, the second more important."""
    names = ("C", "N")
    facts = [
        RelationFacts(
            relation=Relation(k, name, (k,), 0, k, 2),
            training_edges=edges[k],
            edges=10,
            parameters=5,
            parameter_share=0.5,
            time_share=0.5,
            n_atoms=4,
            served=(20.0, 10.0)[k],
            off=Errors({"forces": (115.0, 515.0)[k]}, {}, {}),
        )
        for k, name in enumerate(names)
    ]
    return Findings(
        checkpoint="a.ckpt",
        scheme="vertex",
        classes={"C": [6], "N": [7]},
        split=("test", 3, 9),
        units={"forces": "meV/A"},
        main="forces",
        errors=Errors({"forces": 15.0}, {"C": 20.0, "N": 10.0}, {"C": 4, "N": 4}),
        relations=facts,
        examined=[0, 1],
        likeness={},
        exchange=None if exchange is None else np.array(exchange),
        notes=["A note."],
    )


def test_the_most_and_least_important_relation_and_the_worst_forces():
    costs, forces, *_ = found(None).sentences()
    assert costs == (
        "Switching off N costs most: the MAE of the forces goes from 15 to 515 meV/A; C costs "
        "least (115 meV/A)."
    )
    assert forces.startswith("The forces are worst on the atoms that C changes (20 meV/A)")


@pytest.mark.parametrize(
    ("rises", "verdict"),
    [
        ((300.0, 200.0), "Training keeps all relations apart."),
        ((1.0, 2.0), "These two are close to one another, if not the same."),
        ((0.1, 0.1), "Training does not keep these two apart: one set of weights would serve both"),
        ((-0.1, 200.0), "Training keeps all relations apart."),  # one direction is not enough
    ],
)
def test_whether_training_keeps_relations_apart(rises: tuple[float, float], verdict: str):
    sentences = found([[0.0, rises[0]], [rises[1], 0.0]]).sentences()
    (said,) = [one for one in sentences if "most alike in what they do are C and N" in one]
    assert verdict in said
    assert (
        f"with the weights of N the error on the atoms of C goes from 20 to {20 + rises[0]:.3g}"
        in said
    )


def test_rare_relations_and_notes_are_named():
    assert found(None).sentences()[-2:] == ["Trained on few edges: N (50).", "A note."]
    assert found(None, (900, 900)).sentences()[-1:] == ["A note."]
