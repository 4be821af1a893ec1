"""Soft-edged shapes on float canvases: splines, polygons, strokes, noise textures."""

import cv2
import numpy as np

# fillPoly and polylines take integer coordinates with this many fractional bits.
_FRACTION_BITS = 4


def spline(points, samples_per_segment=6, closed=False):
    """Catmull-Rom curve through `points` (n x 2, float): m x 2 float32, the given points included."""
    points = np.asarray(points, np.float32)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([
            [2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]
        ]).astype(np.float32)
    t = np.linspace(0, 1, samples_per_segment, endpoint=False, dtype=np.float32)
    basis = np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3,
                      t + 4 * t**2 - 3 * t**3, t**3 * 1 - t**2], 1) / 2
    windows = np.stack([padded[i:len(padded) - 3 + i] for i in range(4)], 1)
    curve = np.einsum("tk,skd->std", basis, windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


class Canvas:
    """Maps face units (origin between the eyes, x right, y down) to the pixels of an H x W canvas."""

    def __init__(self, unit, x_range, y_range):
        self.unit = unit
        self.origin = np.array([x_range[0], y_range[0]], np.float32)
        self.shape = (int(round((y_range[1] - y_range[0]) * unit)),
                      int(round((x_range[1] - x_range[0]) * unit)))
        self.x = ((np.arange(self.shape[1], dtype=np.float32)) / unit + x_range[0])
        self.y = ((np.arange(self.shape[0], dtype=np.float32)) / unit + y_range[0])

    def _fixed_point(self, points):
        pixels = (np.asarray(points, np.float32) - self.origin) * self.unit
        return np.round(pixels * (1 << _FRACTION_BITS)).astype(np.int32)

    def polygon(self, points, blur=0.0):
        """Mask of a filled polygon, edges softened with a Gaussian of `blur` face units.

        Returns (region, mask): `region` a pair of slices of the canvas, `mask` float32 in [0, 1].
        """
        region, corner = self._region(points, blur)
        mask = np.zeros((region[0].stop - region[0].start, region[1].stop - region[1].start),
                        np.uint8)
        cv2.fillPoly(mask, [self._fixed_point(points) - corner], 255, cv2.LINE_AA,
                     _FRACTION_BITS)
        return region, self._soften(mask, blur)

    def stroke(self, points, width, blur=0.0):
        """Mask of an open curve drawn `width` face units wide; as `polygon` otherwise."""
        region, corner = self._region(points, blur + width)
        mask = np.zeros((region[0].stop - region[0].start, region[1].stop - region[1].start),
                        np.uint8)
        cv2.polylines(mask, [self._fixed_point(points) - corner], False, 255,
                      max(1, int(round(width * self.unit))), cv2.LINE_AA, _FRACTION_BITS)
        return region, self._soften(mask, blur)

    def creases(self, curves, blur):
        """Depth map (H x W, float32) of skin creases: (points, depth 0..1) pairs, tapering out."""
        depth = np.zeros(self.shape, np.uint8)
        width = max(1, int(round(0.03 * self.unit)))
        for points, strength in curves:
            if strength < 0.03:
                continue
            pixels = self._fixed_point(points)
            taper = np.sin(np.pi * (np.arange(len(pixels) - 1) + 0.7) / (len(pixels) + 0.4))
            for start, end, weight in zip(pixels[:-1], pixels[1:], taper):
                cv2.line(depth, start.tolist(), end.tolist(),
                         int(255 * min(1.0, strength * weight)), width, cv2.LINE_AA,
                         _FRACTION_BITS)
        return self._soften(depth, blur)

    def _region(self, points, margin):
        points = np.asarray(points, np.float32)
        pad = 3 * margin * self.unit + 2
        pixels = (points - self.origin) * self.unit
        low = np.clip(np.floor(pixels.min(0) - pad), 0, None).astype(int)
        high = np.minimum(np.ceil(pixels.max(0) + pad).astype(int) + 1,
                          [self.shape[1], self.shape[0]])
        high = np.maximum(high, low + 1)
        region = (slice(low[1], high[1]), slice(low[0], high[0]))
        return region, (low * (1 << _FRACTION_BITS)).astype(np.int32)

    def _soften(self, mask, blur):
        sigma = blur * self.unit
        if sigma > 0.3:
            mask = cv2.GaussianBlur(mask, (0, 0), sigma)
        return mask.astype(np.float32) / 255


def noise_texture(rng, shape, sigma, stretch=1.0):
    """Smooth noise (H x W, float32, mean 0, standard deviation 1).

    `sigma` in pixels across, `sigma * stretch` pixels down (hair strands run downwards).
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=max(sigma, 0.3),
                             sigmaY=max(sigma * stretch, 0.3))
    return noise / max(float(noise.std()), 1e-6)
