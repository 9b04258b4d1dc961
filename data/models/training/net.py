"""The demo model's network: one class, YOLOv8's kinds of blocks, YOLOv8's output layout, 1.16 M parameters.

A backbone halves the picture five times; a path down and up again mixes the last three resolutions (strides 8, 16
and 32); at each of them a head says for every cell how far away the four sides of a box are, and how sure it is.

Run as a script it prints the number of parameters and the shapes of a forward pass.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
HEAD_CHANNELS = 48
# A sigmoid of 0.01: a new network says "no person" nearly everywhere, which most cells are.
SCORE_BIAS = -4.6
# A new network's boxes reach softplus(1.0) = 1.3 cells to every side.
DISTANCE_BIAS = 1.0


def conv_block(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm and SiLU. [b, channels_in, h, w] to [b, channels_out, h / stride, w / stride]."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.03),
        nn.SiLU(inplace=True),
    )


class C2f(nn.Module):
    """Splits the channels in two, sends one half through bottlenecks and joins all that came out (YOLOv8's C2f).

    [b, channels_in, h, w] to [b, channels_out, h, w].
    """

    def __init__(self, channels_in: int, channels_out: int, bottlenecks: int = 1, shortcut: bool = True) -> None:
        super().__init__()
        half = channels_out // 2
        self.enter = conv_block(channels_in, channels_out, 1)
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(conv_block(half, half), conv_block(half, half)) for _ in range(bottlenecks)
        )
        self.leave = conv_block((2 + bottlenecks) * half, channels_out, 1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for bottleneck in self.bottlenecks:
            out = bottleneck(parts[-1])
            parts.append(parts[-1] + out if self.shortcut else out)
        return self.leave(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Pools three times over 5 x 5 cells, so that a cell knows its wider surroundings. Keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv_block(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = conv_block(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Head(nn.Module):
    """What one resolution says. [b, channels, h, w] to distances [b, 4, h, w] and scores [b, 1, h, w], both raw."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = HEAD_CHANNELS
        self.distances = nn.Sequential(
            conv_block(channels, hidden), conv_block(hidden, hidden), nn.Conv2d(hidden, 4, 1)
        )
        self.score = nn.Sequential(
            conv_block(channels, channels, groups=channels),
            conv_block(channels, hidden, 1),
            conv_block(hidden, hidden, groups=hidden),
            conv_block(hidden, hidden, 1),
            nn.Conv2d(hidden, 1, 1),
        )
        nn.init.constant_(self.distances[-1].bias, DISTANCE_BIAS)
        nn.init.constant_(self.score[-1].bias, SCORE_BIAS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.distances(x), self.score(x)


class Net(nn.Module):
    """The whole detector. Height and width of its input must be multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_block(3, 16, stride=2), conv_block(16, 32, stride=2), C2f(32, 32))
        self.stage8 = nn.Sequential(conv_block(32, 64, stride=2), C2f(64, 64, 2))
        self.stage16 = nn.Sequential(conv_block(64, 96, stride=2), C2f(96, 96, 2))
        self.stage32 = nn.Sequential(conv_block(96, 128, stride=2), C2f(128, 128), SPPF(128))
        self.mix16 = C2f(128 + 96, 96, shortcut=False)
        self.mix8 = C2f(96 + 64, 64, shortcut=False)
        self.down16 = conv_block(64, 64, stride=2)
        self.out16 = C2f(64 + 96, 96, shortcut=False)
        self.down32 = conv_block(96, 96, stride=2)
        self.out32 = C2f(96 + 128, 128, shortcut=False)
        self.heads = nn.ModuleList(Head(channels) for channels in (64, 96, 128))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[b, 3, h, w] to [b, 64, h/8, w/8], [b, 96, h/16, w/16] and [b, 128, h/32, w/32]."""
        at8 = self.stage8(self.stem(images))
        at16 = self.stage16(at8)
        at32 = self.stage32(at16)
        mixed16 = self.mix16(torch.cat([_doubled(at32), at16], 1))
        out8 = self.mix8(torch.cat([_doubled(mixed16), at8], 1))
        out16 = self.out16(torch.cat([self.down16(out8), mixed16], 1))
        out32 = self.out32(torch.cat([self.down32(out16), at32], 1))
        return out8, out16, out32

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What training needs. N = h·w · (1/8² + 1/16² + 1/32²), 3549 for 416 x 416.

        images: [b, 3, h, w], RGB in [0, 1].
        Returns boxes [b, N, 4] (xyxy, input pixels), scores [b, N] (before the sigmoid) and the cells' centres [N, 2]
        (input pixels).
        """
        distances, scores, centres, scales = [], [], [], []
        for feature, head, stride in zip(self.features(images), self.heads, STRIDES):
            rows, columns = feature.shape[2:]
            distance, score = head(feature)
            distances.append(functional.softplus(distance).flatten(2))
            scores.append(score.flatten(2))
            y, x = torch.meshgrid(
                torch.arange(rows, device=images.device) + 0.5,
                torch.arange(columns, device=images.device) + 0.5,
                indexing="ij",
            )
            centres.append(torch.stack([x, y]).flatten(1) * stride)
            scales.append(torch.full((rows * columns,), float(stride), device=images.device))
        centre = torch.cat(centres, 1)
        left, top, right, bottom = (torch.cat(distances, 2) * torch.cat(scales)).unbind(1)
        boxes = torch.stack([centre[0] - left, centre[1] - top, centre[0] + right, centre[1] + bottom], 2)
        return boxes, torch.cat(scores, 2)[:, 0], centre.T

    def forward(self, images: Tensor) -> Tensor:
        """[b, 3, h, w] to [b, 5, N]: centre x, centre y, width, height in input pixels, then the score in [0, 1]."""
        boxes, scores, _ = self.raw(images)
        low, high = boxes[..., :2], boxes[..., 2:]
        return torch.cat([(low + high) / 2, high - low, scores.sigmoid()[..., None]], 2).transpose(1, 2)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def parameter_count(net: nn.Module) -> int:
    """Numbers that training may change."""
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    network = Net().eval()
    with torch.no_grad():
        output = network(torch.zeros(1, 3, 416, 416))
    print(f"{parameter_count(network)} parameters, images [1, 3, 416, 416] to output0 {list(output.shape)}")
