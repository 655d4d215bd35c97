"""How to train: frozen dataclasses, checked when made, and recipes as differences from the paper's.

Defaults are what the authors' code really does ("HigherHRNet", CVPR 2020, section 4, and its
published configuration w32-512); every other published training is a few changes to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from higherhrnet.config import InferenceConfig, InputConfig, ModelConfig
from higherhrnet.errors import require

BaseSide = Literal["short", "long"]
PushType = Literal["exp", "max"]
Schedule = Literal["steps", "linear", "cosine"]
Initialization = Literal["reference", "kaiming"]
TrainPrecision = Literal["bf16", "f32"]


@dataclass(frozen=True)
class DataConfig:
    """What is learnt from."""

    train: tuple[str, ...] = ()
    """Data sets, each ANNOTATIONS[,PICTURES[,WEIGHT]]: a COCO keypoints file; the folder or .zip of
    its pictures, found beside it if not said; how often an epoch shows each picture. Several are
    merged by the names of their keypoints."""
    val: str | None = None
    """ANNOTATIONS[,PICTURES] to measure AP on, never trained on."""
    skeleton: str | None = None
    """coco, crowdpose or a .toml file; all keypoints that the data sets name if not said."""
    mask: bool = True
    """Learn nothing where people are whose keypoints are not annotated. CrowdPose, which does not
    say where, is never masked."""
    overfit: int | None = None
    """Train and validate on this many pictures of the first data set, hardly varied whatever
    the augment flags say, to see that they can be learnt. An epoch is then a few steps: allow a
    thousand or more."""
    workers: int | None = None
    """Processes that read pictures; a core less than there are, at most 16, if not said."""

    def __post_init__(self) -> None:
        require(
            self.overfit is None or self.overfit >= 1,
            f"overfit must be at least 1, not {self.overfit}",
        )
        require(
            self.workers is None or self.workers >= 0,
            f"workers must not be negative: {self.workers}",
        )


@dataclass(frozen=True)
class AugmentConfig:
    """How a photograph is varied each time it is shown."""

    rotation: float = 30.0
    """Degrees, at most, either way."""
    scale: tuple[float, float] = (0.75, 1.5)
    """Least and largest side of the crop, in sides of the photograph: above 1 people shrink."""
    base_side: BaseSide = "short"
    """Which side of the photograph that is."""
    translation: float = 0.2
    """How far the crop moves from the middle at most, in sides of itself, along x and y."""
    center_on_keypoint: float = 0.0
    """Probability that the middle is not the photograph's but a random keypoint: crops that are
    smaller than the photograph then seldom miss the people."""
    flip: float = 0.5
    """Probability of the mirror image."""
    mask_padding: bool = True
    """Learn nothing beyond the photograph's edge, as the original; False: that nobody is there."""
    color: float = 0.0
    """Strength, 0 to 1, of random changes of brightness, contrast, saturation and hue."""
    paste: float = 0.0
    """Probability of people from another photograph being pasted in."""

    def __post_init__(self) -> None:
        require(self.rotation >= 0, f"rotation must not be negative: {self.rotation}")
        require(
            0 < self.scale[0] <= self.scale[1],
            f"scale must be a least and a largest above 0, not {self.scale}",
        )
        require(
            self.base_side in get_args(BaseSide),
            f"fit must be short or long, not {self.base_side!r}",
        )
        require(self.translation >= 0, f"translation must not be negative: {self.translation}")
        for name in ("center_on_keypoint", "flip", "color", "paste"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be between 0 and 1")


@dataclass(frozen=True)
class TargetConfig:
    """What the network should answer."""

    sigma: float = 2.0
    """Of the Gaussian around a keypoint, in cells, at every resolution alike."""
    scale_aware: bool = False
    """Let sigma grow with the person: it is then `sigma` for one of `scale_base` pixels."""
    scale_base: float = 256.0
    """Pixels of the longer side of a person's box, in the network's input."""

    def __post_init__(self) -> None:
        require(self.sigma > 0, f"sigma must be above 0, not {self.sigma}")
        require(self.scale_base > 0, f"scale_base must be above 0, not {self.scale_base}")


@dataclass(frozen=True)
class LossConfig:
    """What is made small."""

    heatmap: tuple[float, ...] = (1.0, 1.0)
    """Factor of the heatmaps' mean square error at each resolution, coarse first."""
    pull: float = 1e-3
    """Factor of the distance of a person's tags from their mean."""
    push: float = 1e-3
    """Factor of the nearness of different people's tags; the half in the paper comes on top."""
    push_type: PushType = "exp"
    """How push measures nearness: exp(-d²), or max(0, 1 - d)."""
    swahr: bool = False
    """Scale- and weight-adaptive heatmaps (SWAHR, CVPR 2021): the network learns each keypoint's
    sigma, and easy background counts less."""

    def __post_init__(self) -> None:
        require(min(self.heatmap, default=-1) >= 0, f"heatmap factors: {self.heatmap}")
        require(self.pull >= 0 and self.push >= 0, "pull and push must not be negative")
        require(
            self.push_type in get_args(PushType),
            f"push_type must be exp or max, not {self.push_type!r}",
        )


@dataclass(frozen=True)
class OptimConfig:
    """How it is made small: Adam, and a learning rate that changes with the epochs."""

    batch_size: int = 12
    """Pictures a step in each process; the authors had 4 GPUs."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    epochs: float = 300.0
    """How often each photograph is shown."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    scale_lr: bool = False
    """Multiply it by the number of processes."""
    schedule: Schedule = "steps"
    """steps: a tenth after each milestone; linear or cosine: down to 0 at the end."""
    milestones: tuple[float, ...] = (200 / 300, 260 / 300)
    """Fractions of the training after which the learning rate is a tenth."""
    warmup: float = 0.0
    """Epochs in which the learning rate rises to its value from a tenth of it."""
    weight_decay: float = 0.0
    """0 is what the original did: the 1e-4 of its configuration never reached Adam."""
    freeze: tuple[str, ...] = ()
    """Parts of the network that stay as they are, say `backbone.blocks.0`: neither weights nor
    batch norms change, and no gradient is computed."""
    slow: tuple[str, ...] = ()
    """Parts that learn at a tenth of the learning rate, say `backbone`, for what they knew before
    to last."""
    clip: float | None = None
    """Largest norm of the gradient."""
    ema: float | None = None
    """Decay, say 0.999, of a running average of the weights, which is then what is measured and
    kept; none in the paper."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size must be at least 1, not {self.batch_size}")
        require(self.accumulate >= 1, f"accumulate must be at least 1, not {self.accumulate}")
        require(self.epochs > 0, f"epochs must be above 0, not {self.epochs}")
        require(self.lr > 0, f"lr must be above 0, not {self.lr}")
        require(
            self.schedule in get_args(Schedule),
            f"schedule must be one of {get_args(Schedule)}, not {self.schedule!r}",
        )
        require(self.warmup >= 0, f"warmup must not be negative: {self.warmup}")
        require(self.weight_decay >= 0, f"weight_decay must not be negative: {self.weight_decay}")
        require(self.clip is None or self.clip > 0, f"clip must be above 0, not {self.clip}")
        require(self.ema is None or 0 < self.ema < 1, f"ema must be between 0 and 1: {self.ema}")


@dataclass(frozen=True)
class RunConfig:
    """Where and on what."""

    out: Path = Path("run")
    """The folder of the run: configuration, metrics, pictures, `last` and `best` weights."""
    resume: bool = False
    """Go on where an earlier run into the same folder stopped."""
    init: str | None = None
    """Weights to start from: a .safetensors file, a trunk (.pth from ImageNet, or MoveNet's .json),
    or the name of a downloaded model. Heads of another skeleton are made anew."""
    initialization: Initialization = "reference"
    """Of weights that start from nothing: the authors' N(0, 0.001), or kaiming, which learns faster
    without a pre-trained trunk."""
    device: str | None = None
    """cpu, cuda, mps; the best that is there if not said."""
    precision: TrainPrecision = "bf16"
    """Of the network's arithmetic in training; losses and weights are always f32."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster after."""
    sync_bn: bool = False
    """Batch norm over all processes' pictures together."""
    seed: int = 0
    """Of all chance: the same seed and data, the same training."""
    max_hours: float | None = None
    """End after so many hours: the schedule is planned to fit, whatever `epochs` says."""
    eval_every: float = 10.0
    """Epochs between measurements of AP on the validation set."""
    save_minutes: float = 10.0
    """Minutes between saves; the end of each epoch saves too, but not more than once a minute."""
    preview_images: int = 8
    """Validation pictures whose predictions are drawn at every measurement."""

    def __post_init__(self) -> None:
        require(
            self.max_hours is None or self.max_hours > 0,
            f"max_hours must be above 0, not {self.max_hours}",
        )
        require(self.eval_every > 0, f"eval_every must be above 0, not {self.eval_every}")
        require(self.preview_images >= 0, f"pictures must not be negative: {self.preview_images}")


@dataclass(frozen=True)
class TrainConfig:
    """A whole training."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Its number of keypoints follows the skeleton, whatever is said here."""
    input: InputConfig = field(default_factory=InputConfig)
    data: Annotated[DataConfig, arg(name="")] = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    optim: Annotated[OptimConfig, arg(name="")] = field(default_factory=OptimConfig)
    run: Annotated[RunConfig, arg(name="")] = field(default_factory=RunConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    """How the validation set is looked at, and what the weights' header will say suits them."""

    def __post_init__(self) -> None:
        outputs = 1 + len(self.model.deconv_kernels)
        require(
            len(self.losses.heatmap) == outputs,
            f"losses.heatmap needs {outputs} factors, one a resolution, not {self.losses.heatmap}",
        )


def _swahr(recipe: TrainConfig) -> TrainConfig:
    """The schedule of SWAHR's authors (8 GPUs, 20 pictures each), and their losses."""
    optim = OptimConfig(
        batch_size=20, lr=2.5e-4, scale_lr=True, schedule="linear", warmup=3, epochs=300
    )
    return replace(recipe, losses=replace(recipe.losses, swahr=True), optim=optim)


def _crowdpose(recipe: TrainConfig) -> TrainConfig:
    return replace(recipe, data=replace(recipe.data, skeleton="crowdpose"))


_W32_512 = TrainConfig()
_W32_640 = TrainConfig(input=InputConfig(640))
_W48_640 = TrainConfig(ModelConfig(48), InputConfig(640), optim=OptimConfig(batch_size=10))
_PAPER = {"w32-512": _W32_512, "w32-640": _W32_640, "w48-640": _W48_640}

RECIPES = {
    f"{data}-{size}{form}": change(adapt(recipe))
    for data, adapt in (("coco", replace), ("crowdpose", _crowdpose))
    for size, recipe in _PAPER.items()
    for form, change in (("", replace), ("-swahr", _swahr))
}
"""Trainings by name: data set, width and input size, and the form of the loss."""


def describe(recipe: TrainConfig) -> str:
    """A recipe in a few words."""
    skeleton = "CrowdPose" if recipe.data.skeleton == "crowdpose" else "COCO"
    form = ", adaptive heatmaps" if recipe.losses.swahr else ""
    return f"{skeleton}, width {recipe.model.width}, {recipe.input.size} pixels{form}"
