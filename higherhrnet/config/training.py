"""The configuration of a training run.

Frozen dataclasses that check their values when they are created. The defaults are those of the
reference implementation ("HigherHRNet", CVPR 2020, section 4, and its published configuration
w32-512); recipes change a few of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from higherhrnet.config.data import AugmentConfig, DataConfig
from higherhrnet.config.flags import flag
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import HeadName, InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.errors import require

PushType = Literal["exp", "max"]
Schedule = Literal["steps", "linear", "cosine"]
Initialization = Literal["reference", "kaiming"]
TrainPrecision = Literal["auto", "bf16", "f32"]


@dataclass(frozen=True)
class TargetConfig:
    """The target heatmaps."""

    sigma: float = 2.0
    """Standard deviation of the Gaussian at each keypoint, in map cells at every resolution."""
    scale_aware: bool = False
    """Make the Gaussian's standard deviation proportional to the size of the person. It is
    --targets.sigma for people whose box has a longer side of --targets.scale-base pixels."""
    scale_base: float = 256.0
    """Longer side of a person's box, in pixels of the network's input, for which --targets.sigma
    applies unchanged. Used only by --targets.scale-aware."""
    offsets: OffsetTargetConfig = field(default_factory=OffsetTargetConfig)
    """Targets of networks that predict offsets."""

    def __post_init__(self) -> None:
        require(self.sigma > 0, f"sigma must be above 0, not {self.sigma}")
        require(self.scale_base > 0, f"scale_base must be above 0, not {self.scale_base}")


@dataclass(frozen=True)
class LossConfig:
    """The loss."""

    heatmap: tuple[float, ...] = (1.0, 1.0)
    """Weight of the mean squared error of the heatmaps at each resolution, lowest first."""
    pull: float = 1e-3
    """Weight of the pull loss, which makes the tags of one person similar."""
    push: float = 1e-3
    """Weight of the push loss, which makes the tags of different people differ. The factor 1/2 of
    the paper's push loss applies as well."""
    push_type: PushType = "exp"
    """Push loss of two people as a function of the difference d of their mean tags: exp is
    exp(-d²), max is max(0, 1 - d)."""
    swahr: bool = False
    """Use scale- and weight-adaptive heatmaps (SWAHR, CVPR 2021): the network also predicts scale
    maps, which adapt the sigma of the target heatmaps, and easy background pixels have lower
    weight. Inference does not compute the scale maps."""
    scale: float = 1.0
    """Weight of the mean square of the scale maps, which keeps them near 0, at each resolution
    whose heatmaps have a weight above 0. Used only by --losses.swahr."""
    offset: float = 0.03
    """Weight of the smooth L1 loss of the offsets, for networks that predict offsets."""

    def __post_init__(self) -> None:
        require(
            min(self.heatmap, default=-1) >= 0,
            f"heatmap must be weights that are not negative, not {self.heatmap}",
        )
        for name in ("pull", "push", "scale", "offset"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative: {value}")
        require(
            self.push_type in get_args(PushType),
            f"push_type must be exp or max, not {self.push_type!r}",
        )


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, which is Adam, and the schedule of its learning rate."""

    batch_size: int = 12
    """Number of images per batch in each process. The paper's authors used 4 processes."""
    accumulate: int = 1
    """Number of batches whose gradients are averaged for one step of the optimizer."""
    epochs: float = 300.0
    """Number of passes over the training data."""
    lr: float = 1e-3
    """Base learning rate of Adam, which the schedule decreases."""
    scale_lr: bool = False
    """Multiply the learning rate by the number of processes."""
    schedule: Schedule = "steps"
    """Schedule of the learning rate: steps divides it by 10 at each milestone; linear and cosine
    decrease it to 0 at the end of training. The decrease of linear begins after --warmup."""
    milestones: Annotated[
        tuple[float, ...], flag("2/3 13/15, which are epochs 200 and 260 of 300")
    ] = (200 / 300, 260 / 300)
    """Fractions of the training at which the learning rate is divided by 10. Used only if the value
    of --schedule is steps."""
    warmup: float = 0.0
    """Number of epochs in which the learning rate increases linearly from 10 % to 100 % of its
    scheduled value."""
    weight_decay: float = 0.0
    """L2 penalty added to the gradient (not decoupled). The code of the paper's authors ignores the
    1e-4 of its configuration, so the default is 0."""
    freeze: Annotated[tuple[str, ...], flag("none", "MODULE ...")] = ()
    """Modules that are not trained, for example conv1 bn1 layer1, or stem with a pretrained stem:
    their weights and batch-norm statistics do not change."""
    slow: Annotated[tuple[str, ...], flag("none", "MODULE ...")] = ()
    """Modules that are trained with a tenth of the learning rate, for example stage2, or stem with
    a pretrained stem, so that pretrained weights change less."""
    clip: Annotated[float | None, flag("gradients are not clipped", "FLOAT")] = None
    """Maximum norm to which the gradient is clipped."""
    ema: Annotated[float | None, flag("not used", "FLOAT")] = None
    """Decay of an exponential moving average of the weights, for example 0.999. If it is set, the
    averaged weights are evaluated and saved."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size must be at least 1, not {self.batch_size}")
        require(self.accumulate >= 1, f"accumulate must be at least 1, not {self.accumulate}")
        require(self.epochs > 0, f"epochs must be above 0, not {self.epochs}")
        require(self.lr > 0, f"lr must be above 0, not {self.lr}")
        require(
            self.schedule in get_args(Schedule),
            f"schedule must be one of {', '.join(get_args(Schedule))}, not {self.schedule!r}",
        )
        require(self.warmup >= 0, f"warmup must not be negative: {self.warmup}")
        require(self.weight_decay >= 0, f"weight_decay must not be negative: {self.weight_decay}")
        require(self.clip is None or self.clip > 0, f"clip must be above 0, not {self.clip}")
        require(
            self.ema is None or 0 < self.ema < 1,
            f"ema must be above 0 and below 1, not {self.ema}",
        )


@dataclass(frozen=True)
class RunConfig:
    """The output folder, the initial weights and the hardware of a training run."""

    out: Path = Path("run")
    """The folder to write to: configuration, metrics, images of predictions, and the weights
    last.safetensors and best.safetensors. It must not contain an earlier run, unless --resume is
    given."""
    resume: bool = False
    """Continue the run in --out; start a new run if there is none."""
    init: Annotated[str | None, flag("random weights, see --initialization", "FILE|NAME")] = None
    """Initial weights: a .safetensors file, the name of a published model or backbone, or the file
    of a pretrained backbone: .pth of an HRNet or EfficientNet-Lite, .json of MoveNet. Heads for
    another skeleton, or of another --model.head, are initialized randomly."""
    initialization: Initialization = "reference"
    """Distribution of random initial weights: reference is the normal distribution of the paper's
    authors with standard deviation 0.001; kaiming learns faster without a pretrained backbone."""
    device: Annotated[str | None, flag("cuda or mps if available, else cpu", "cpu|cuda|mps")] = None
    """The device to train on."""
    precision: TrainPrecision = "auto"
    """Arithmetic of the network in training; losses and weights are always f32. auto is the
    precision of the run to resume; for a new run it is bf16 on CPUs with AVX-512 BF16 or AMX and on
    GPUs with compute capability 8.0 or higher, else f32."""
    compile: bool = False
    """Compile the network with torch.compile, which takes minutes and makes the steps faster."""
    sync_bn: bool = False
    """Compute batch-norm statistics over the batches of all processes together."""
    seed: int = 0
    """Seed of all random numbers. Runs with equal seed, data and settings use equal batches and
    initial weights; results on a GPU may differ slightly."""
    max_hours: Annotated[float | None, flag("--epochs is used", "FLOAT")] = None
    """Train for this number of hours instead of --epochs; the schedule of the learning rate is
    scaled to it. --warmup stays in epochs."""
    eval_every: float = 10.0
    """Number of epochs between measurements of AP on the validation dataset."""
    save_minutes: float = 10.0
    """Number of minutes between checkpoints. A checkpoint is also saved at the end of each epoch,
    but at most once per minute."""
    preview_images: int = 8
    """Number of validation images whose predictions are drawn at each measurement of AP."""

    def __post_init__(self) -> None:
        require(
            self.max_hours is None or self.max_hours > 0,
            f"max_hours must be above 0, not {self.max_hours}",
        )
        require(self.eval_every > 0, f"eval_every must be above 0, not {self.eval_every}")
        require(
            self.preview_images >= 0, f"preview_images must not be negative: {self.preview_images}"
        )


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The architecture of the network."""
    input: InputConfig = field(default_factory=InputConfig)
    """The input of the network."""
    data: Annotated[DataConfig, arg(name="")] = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    optim: Annotated[OptimConfig, arg(name="")] = field(default_factory=OptimConfig)
    run: Annotated[RunConfig, arg(name="")] = field(default_factory=RunConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    """The inference settings for validation, which are also saved in the header of the weights."""

    def __post_init__(self) -> None:
        self._require_settings_of_head()
        require(
            len(self.model.deconv_kernels) <= 2,
            "model.deconv_kernels must have at most 2 values for training, not "
            f"{self.model.deconv_kernels}",
        )
        outputs = len(self.model.heatmap_strides)
        require(
            len(self.losses.heatmap) == outputs,
            f"losses.heatmap must have {outputs} weight{'s' * (outputs > 1)}, one for each "
            f"resolution of the heatmaps, not "
            f"{self.losses.heatmap}",
        )
        require(
            self.input.convention != "udp",
            "input.convention udp is only for inference with MMPose's UDP weights; train with "
            "unbiased, whose flips and resizes are exact, too",
        )
        require(
            self.losses.swahr or not self.model.scale_maps,
            "model.scale_maps needs losses.swahr, which sets it and trains the scale maps",
        )
        self.inference.require_convention(self.input.convention)

    def _require_settings_of_head(self) -> None:
        """Raises InputError if a setting that does not apply to the network's head is changed."""
        for heads, groups in _SETTINGS_OF_HEADS.items():
            for group, names in groups.items() if self.model.head not in heads else ():
                settings = getattr(self, group)
                for name in names:
                    value = getattr(settings, name)
                    require(
                        value == getattr(type(settings)(), name),
                        f"{group}.{name} applies only to networks with --model.head "
                        f"{' or '.join(heads)}; this one has --model.head {self.model.head}",
                    )


_SETTINGS_OF_HEADS: dict[tuple[HeadName, ...], dict[str, tuple[str, ...]]] = {
    ("tags",): {
        "model": ("scale_maps",),
        "targets": ("scale_aware", "scale_base"),
        "losses": ("swahr", "scale"),
    },
    ("tags", "tags-and-offsets"): {
        "model": ("tag_per_keypoint", "deconv_kernels", "deconv_blocks"),
        "losses": ("pull", "push", "push_type"),
    },
    ("offsets", "tags-and-offsets"): {"targets": ("offsets",), "losses": ("offset",)},
}
"""The settings that apply only to some heads, by group."""
