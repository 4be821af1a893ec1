"""The six models of the paper's Figure 2."""

from gcnet import models
from gcnet.methods.gcnet import published
from gcnet.models import Model, Pictures
from gcnet_base.protocol import NEUTRAL

ENCODER1, ENCODER2 = "encoder1", "encoder2"

GENERATED = {"generated reference": "generated"}
RECONSTRUCTED = {
    "reconstructed neutral": "reconstructed_reference",
    "reconstructed image": "reconstructed_image",
}


def _gcnet(name, rows):
    return Model(
        name,
        f"GCNet {name.upper()}",
        generated="generated",
        pictures=Pictures("Figure 4", "figure4.png", rows),
        former_blobs={"reconstructed_image": "reconstructed_input"},
        starts_from=(ENCODER1, ENCODER2),
        published=published.of(name),
    )


CNN = Model("cnn", "CNN", starts_from=(ENCODER2,), published=published.of("cnn"), is_baseline=True)
METRIC_LEARNING_CNN = Model(
    "mlcnn",
    "Metric-learning CNN",
    shown_reference=True,
    starts_from=(ENCODER2,),
    published=published.of("mlcnn"),
    remarks={
        "accuracy": "is shown the person's real neutral image in the test, too, which no other "
        "model here is",
        NEUTRAL: f"a neutral face is its own reference, so that its recall of {NEUTRAL} means "
        "little",
    },
)
S0R0 = _gcnet("s0r0", GENERATED)
S1R0 = _gcnet("s1r0", GENERATED)
S0R1 = _gcnet("s0r1", GENERATED | RECONSTRUCTED)
S1R1 = _gcnet("s1r1", GENERATED | RECONSTRUCTED)

GCNETS = (S0R0, S1R0, S0R1, S1R1)
MODELS = (CNN, METRIC_LEARNING_CNN, *GCNETS)

models.register(*MODELS)
