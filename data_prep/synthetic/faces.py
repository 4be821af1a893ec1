"""Renders a subject's face with given action units as a photograph-like image.

A face is drawn frontally: its colours (skin, brows, eyes, lips, hair) as soft-edged shapes on one
canvas, its relief (a sum of Gaussians, minus the creases) on another. The relief's normals light
the colours; the lit canvas is then turned by the head's pose into the image, over a background.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.anatomy import LEFT, RIGHT, face_shape, five_points, landmarks_68
from data_prep.synthetic.drawing import Canvas, noise_texture, spline
from data_prep.synthetic.identity import Identity, Setting

__all__ = ["FaceRenderer", "Identity", "Rendering", "Setting"]

_LUMINANCE = np.array([0.114, 0.587, 0.299], np.float32)


@dataclass
class Rendering:
    """image: uint8, H x W gray or H x W x 3 BGR. five_points: 5 x 2, landmarks: 68 x 2, pixels."""

    image: np.ndarray
    five_points: np.ndarray
    landmarks: np.ndarray


class FaceRenderer:
    """One subject in one setting; `render` gives the frames.

    size: (width, height) in pixels; the eyes are about 0.2 heights apart.
    """

    def __init__(self, identity, setting, size=(320, 240), colour=False):
        self.identity, self.setting = identity, setting
        self.width, self.height = size
        self.channels = 3 if colour else 1
        self.unit = 0.215 * self.height
        self.canvas = Canvas(self.unit, (-1.65, 1.65), (-2.1, 2.62))
        self._prepare_textures()
        self._prepare_hair()
        self._prepare_relief()
        self._prepare_pose()
        self._prepare_background()

    def render(self, intensities, rng):
        """The Rendering of action units {AU: (left, right)}; `rng` moves the head a little."""
        shape = face_shape(self.identity, intensities)
        albedo, alpha, lips, lids = self._paint(shape)
        lit = self._light(shape, albedo, lips, lids)
        self._highlights(lit, shape)
        self._draw_glasses(lit)
        jitter = self._jitter(rng)
        image = self._photograph(lit, alpha, jitter, rng)
        landmarks = self._project(landmarks_68(shape), jitter)
        return Rendering(image, five_points(landmarks), landmarks)

    # What does not change within a sequence.

    def _colour(self, bgr):
        bgr = np.asarray(bgr, np.float32)
        return bgr if self.channels == 3 else np.array([bgr @ _LUMINANCE], np.float32)

    def _prepare_textures(self):
        identity, canvas = self.identity, self.canvas
        rng = np.random.default_rng(identity.texture_seed)
        unit = self.unit
        skin = self._colour(identity.skin_colour)
        mottling = (0.02 * noise_texture(rng, canvas.shape, 0.12 * unit)
                    + 0.016 * noise_texture(rng, canvas.shape, 0.02 * unit))
        self.skin = skin * (1 + mottling)[..., None]
        x, y = canvas.x[None, :], canvas.y[:, None]
        red = np.array([0.82, 0.84, 1.0], np.float32)
        red = red if self.channels == 3 else np.array([red @ _LUMINANCE])
        flush = 0.55 * (np.exp(-((np.abs(x) - 0.66) / 0.3) ** 2 - ((y - 0.6) / 0.28) ** 2)
                        + np.exp(-(x / 0.2) ** 2 - ((y - 0.68) / 0.2) ** 2))
        self.skin *= 1 - flush[..., None] * (1 - red)
        sockets = np.exp(-((np.abs(x) - 0.48) / 0.27) ** 2 - ((y - 0.06) / 0.16) ** 2)
        self.skin *= 1 - (0.06 + 0.12 * identity.eye_depth) * sockets[..., None]
        if identity.freckles:
            spots = np.clip(noise_texture(rng, canvas.shape, 0.016 * unit) - 1.3, 0, 1)
            spots *= np.exp(-(x / 0.85) ** 2 - ((y - 0.45) / 0.35) ** 2)
            self.skin *= 1 - 0.4 * identity.freckles * spots[..., None]
        for _ in range(int(rng.integers(0, 4))):
            mole = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 1.6)])
            ring = mole + 0.022 * np.stack([np.cos(np.arange(8)), np.sin(np.arange(8))], 1)
            region, mask = canvas.polygon(ring, 0.01)
            self.skin[region] *= 1 - 0.5 * mask[..., None]
        self.hair_strands = noise_texture(rng, canvas.shape, 0.018 * unit, stretch=6)
        self.fine_grain = np.clip(0.8 + 0.25 * noise_texture(rng, canvas.shape, 0.014 * unit),
                                  0, 1)
        self.skin = self.skin.astype(np.float32)
        self.hair = self._colour(identity.hair_colour)

    def _prepare_hair(self):
        identity, canvas = self.identity, self.canvas
        rng = np.random.default_rng(identity.texture_seed + 1)
        w, crown, line = identity.face_half_width, identity.crown_y, identity.hairline_y
        style = identity.hair_style
        self.back_hair = self.front_hair = None
        if style == "bald":
            return
        volume = {"short": 0.06, "side_parted": 0.1, "fringe": 0.12, "long": 0.13,
                  "curly": 0.25, "tied_back": 0.04}[style]
        sideburn = {"short": -0.1, "side_parted": 0.05, "fringe": 0.9, "long": 0.3,
                    "curly": 0.25, "tied_back": -0.15}[style]
        top = max(crown - volume, -2.02)
        half = min(w + 0.75 * volume, 1.5)
        wiggle = rng.normal(0, 0.05 if style == "curly" else 0.012, (12, 2))
        outer = np.array([[half * 0.98, sideburn], [half * 1.02, -0.4], [half, -0.9],
                          [half * 0.82, top * 0.82], [half * 0.45, top * 0.97], [0, top],
                          [-half * 0.45, top * 0.97], [-half * 0.82, top * 0.82],
                          [-half, -0.9], [-half * 1.02, -0.4], [-half * 0.98, sideburn]])
        outer = spline(outer + wiggle[:11], 5)
        part = rng.choice([-1, 1])
        if style == "fringe":
            low = identity.brow_y - rng.uniform(0.08, 0.3)
            inner = [[-0.93, sideburn], [-0.9, -0.3], [-0.78, low + 0.03], [-0.3, low - 0.02],
                     [0.1, low], [0.5, low - 0.03], [0.8, low + 0.02], [0.9, -0.3],
                     [0.93, sideburn]]
        elif style == "side_parted":
            inner = [[-1.02, sideburn], [-0.98, -0.35], [-0.85, -0.75 + 0.12 * part],
                     [-0.45, line - 0.05 + 0.16 * part], [0, line + 0.02],
                     [0.45, line - 0.05 - 0.16 * part], [0.85, -0.75 - 0.12 * part],
                     [0.98, -0.35], [1.02, sideburn]]
        elif style == "long":
            inner = [[-0.92, sideburn], [-0.94, -0.1], [-0.86, -0.62], [-0.5, line + 0.02],
                     [0.06 * part, line - 0.12], [0.5, line + 0.02], [0.86, -0.62],
                     [0.94, -0.1], [0.92, sideburn]]
        else:
            recede = 0.18 * identity.age if style == "short" else 0
            inner = [[-1.03, sideburn], [-0.98, -0.4], [-0.88, -0.75 - recede],
                     [-0.55, line - recede], [0, line], [0.55, line - recede],
                     [0.88, -0.75 - recede], [0.98, -0.4], [1.03, sideburn]]
        inner = spline(np.array(inner) * [w / 1.13, 1] + wiggle[:9], 5)
        self.front_hair = canvas.polygon(np.concatenate([outer, inner]), 0.018)
        if style in ("long", "fringe"):
            length = rng.uniform(1.5, 2.5) if style == "long" else rng.uniform(0.9, 1.7)
            wide = half + rng.uniform(0.0, 0.12)
            curtain = np.array([[0, top], [half * 0.82, top * 0.82], [half, -0.9], [wide, 0.2],
                                [wide, length], [0.7, length + 0.1], [-0.7, length + 0.1],
                                [-wide, length], [-wide, 0.2], [-half, -0.9],
                                [-half * 0.82, top * 0.82]])
            self.back_hair = canvas.polygon(spline(curtain, 5, closed=True), 0.03)

    def _prepare_relief(self):
        identity, canvas = self.identity, self.canvas
        x, y = canvas.x[None, :], canvas.y[:, None]
        w = identity.face_half_width + 0.06
        radius = (np.abs(x) / w) ** 2.4 + (np.abs(y - 0.12) / 1.98) ** 2.6
        self.skull = (1.15 * np.sqrt(np.clip(1.04 - radius, 0.0, None) + 0.004)).astype(np.float32)
        rng = np.random.default_rng(identity.texture_seed + 2)
        self.pores = 0.004 * noise_texture(rng, canvas.shape, 0.016 * self.unit)
        self.chin_dimples = 0.02 * noise_texture(rng, canvas.shape, 0.03 * self.unit)
        setting = self.setting
        direction = np.array([
            np.sin(setting.light_azimuth) * np.cos(setting.light_elevation),
            -np.sin(setting.light_elevation),
            np.cos(setting.light_azimuth) * np.cos(setting.light_elevation)], np.float32)
        self.light = direction / np.linalg.norm(direction)

    def _depth(self, points):
        x, y = points[..., 0], points[..., 1]
        head = 1.05 * np.exp(-(x / 1.3) ** 2 - ((y - 0.2) / 2.1) ** 2)
        nose = 0.25 * np.exp(-(x / 0.26) ** 2 - ((y - self.identity.nose_tip_y) / 0.32) ** 2)
        return head + nose - 1.05

    def _prepare_pose(self):
        setting = self.setting
        rotation = np.array([[np.cos(setting.roll), -np.sin(setting.roll)],
                             [np.sin(setting.roll), np.cos(setting.roll)]], np.float32)
        self.pose = rotation * setting.scale * self.unit
        self.centre = np.array([self.width / 2 + setting.shift[0] * self.unit,
                                self.height * 0.46 + setting.shift[1] * self.unit], np.float32)
        columns, rows = np.meshgrid(np.arange(self.width, dtype=np.float32),
                                    np.arange(self.height, dtype=np.float32))
        turned = np.stack([columns, rows], -1) - self.centre
        turned = turned @ np.linalg.inv(self.pose).T.astype(np.float32)
        found = turned.copy()
        for _ in range(4):
            depth = self._depth(found)
            found[..., 0] = (turned[..., 0] - depth * np.sin(setting.yaw)) / np.cos(setting.yaw)
            found[..., 1] = (turned[..., 1] + depth * np.sin(setting.pitch)) / np.cos(
                setting.pitch)
        self.map_x = np.ascontiguousarray(found[..., 0])
        self.map_y = np.ascontiguousarray(found[..., 1])

    def _jitter(self, rng):
        """Inverse of a small turn, zoom and shift of the face on its canvas (2 x 3)."""
        angle, zoom = rng.normal(0, 0.006), 1 + rng.normal(0, 0.004)
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        shift = rng.normal(0, 0.012, 2)
        return np.array([[cos, sin, shift[0]], [-sin, cos, shift[1]]])

    def _project(self, points, jitter):
        """Image pixels of points in face units (n x 2)."""
        points = np.linalg.solve(jitter[:, :2], (points - jitter[:, 2]).T).T
        depth = self._depth(points)
        setting = self.setting
        turned = np.stack([
            points[:, 0] * np.cos(setting.yaw) + depth * np.sin(setting.yaw),
            points[:, 1] * np.cos(setting.pitch) - depth * np.sin(setting.pitch)], 1)
        return turned @ self.pose.T.astype(np.float64) + self.centre

    def _prepare_background(self):
        setting = self.setting
        rng = np.random.default_rng(setting.texture_seed)
        across = np.linspace(-1, 1, self.width)[None, :]
        wall = setting.background + setting.background_gradient * across
        wall = wall + setting.background_clutter * noise_texture(
            rng, (self.height, self.width), 0.25 * self.unit)
        tint = self._colour(np.clip(1 + rng.normal(0, 0.06, 3), 0.8, 1.1))
        picture = np.clip(wall, 0.03, 0.97)[..., None] * tint
        body = Canvas(self.unit * setting.scale,
                      (-self.centre[0] / (self.unit * setting.scale), 9),
                      (-self.centre[1] / (self.unit * setting.scale), 9))
        identity = self.identity
        neck = identity.neck_half_width
        neck_polygon = np.array([[-neck, 0.6], [-neck * 0.97, 2.2], [-neck * 1.25, 2.8],
                                 [neck * 1.25, 2.8], [neck * 0.97, 2.2], [neck, 0.6]])
        collar = 2.45
        shoulders = spline(np.array([[-neck * 1.05, collar - 0.15], [-1.7, collar + 0.2],
                                     [-2.5, collar + 0.7], [-2.6, 6.0], [2.6, 6.0],
                                     [2.5, collar + 0.7], [1.7, collar + 0.2],
                                     [neck * 1.05, collar - 0.15], [0, collar + 0.25]]), 5,
                           closed=True)
        skin = self._colour(identity.skin_colour)
        for polygon, colour in ((neck_polygon, 0.55 * skin),
                                (shoulders, setting.clothes * self._colour(
                                    rng.uniform(0.5, 1, 3)))):
            (rows, columns), mask = body.polygon(polygon, 0.02)
            rows = slice(rows.start, min(rows.stop, self.height))
            columns = slice(columns.start, min(columns.stop, self.width))
            mask = mask[:rows.stop - rows.start, :columns.stop - columns.start, None]
            picture[rows, columns] += mask * (colour - picture[rows, columns])
        self.background = picture.astype(np.float32)

    # One frame.

    @staticmethod
    def _blend(picture, mask, colour, opacity=1.0):
        region, weight = mask
        part = picture[region]
        part += (weight * opacity)[..., None] * (colour - part)

    def _paint(self, shape):
        identity, canvas = self.identity, self.canvas
        albedo = self.skin.copy()
        alpha = np.zeros(canvas.shape, np.float32)

        def cover(mask):
            region, weight = mask
            np.maximum(alpha[region], weight, out=alpha[region])

        if self.back_hair is not None:
            region, weight = self.back_hair
            hair = self._hair_colour(region, 0.7)
            self._blend(albedo, self.back_hair, hair)
            cover(self.back_hair)
        if self.identity.hair_style not in ("long", "fringe"):
            for side in (LEFT, RIGHT):
                ear = self._ear(side)
                region, weight = ear
                self._blend(albedo, ear, self.skin[region] * 0.86)
                cover(ear)
        face = canvas.polygon(shape.outline, 0.012)
        self._blend(albedo, face, self.skin[face[0]])
        cover(face)
        self._paint_beard(albedo, shape)
        for side in (LEFT, RIGHT):
            self._paint_brow(albedo, shape.brow_polygon[side])
            self._paint_eye(albedo, shape, side)
        self._paint_nostrils(albedo, shape)
        lips = self._paint_mouth(albedo, shape)
        if self.front_hair is not None:
            region, weight = self.front_hair
            self._blend(albedo, self.front_hair, self._hair_colour(region, 1.0))
            cover(self.front_hair)
        lids = [canvas.polygon(np.concatenate([shape.lid_fold[side], shape.upper_lid[side][::-1]]),
                               0.02) for side in (LEFT, RIGHT)]
        return albedo, alpha, lips, lids

    def _hair_colour(self, region, brightness):
        strands = np.clip(1 + 0.22 * self.hair_strands[region], 0.4, 1.8)
        return self.hair * (brightness * strands)[..., None]

    def _ear(self, side):
        identity = self.identity
        x, size, flare = identity.face_half_width, identity.ear_size, identity.ear_flare
        ear = np.array([[x - 0.08, -0.12], [x + flare + 0.06, -0.2], [x + flare + 0.13, 0.05],
                        [x + flare + 0.05, size], [x - 0.02, size + 0.22], [x - 0.1, size]])
        return self.canvas.polygon(spline(ear * [(-1, 1)[side], 1], 4, closed=True), 0.015)

    def _paint_brow(self, albedo, polygon):
        region, weight = self.canvas.polygon(polygon, 0.022)
        opacity = self.identity.brow_density * self.fine_grain[region]
        self._blend(albedo, (region, weight * opacity), np.minimum(
            self.hair * 0.9, self._colour(self.identity.skin_colour) * 0.75))

    def _paint_eye(self, albedo, shape, side):
        identity, canvas = self.identity, self.canvas
        upper, lower = spline(shape.upper_lid[side], 3), spline(shape.lower_lid[side], 3)
        region, opening = canvas.polygon(np.concatenate([upper, lower[::-1]]), 0.006)
        y, x = canvas.y[region[0]][:, None], canvas.x[region[1]][None, :]
        centre = np.array([(-1, 1)[side] * identity.eye_x + self.setting.gaze[0],
                           0.012 - 0.3 * identity.eye_slant + self.setting.gaze[1]])
        radius = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
        edge = 0.6 / self.unit

        def disc(size):
            return np.clip((size - radius) / (2 * edge) + 0.5, 0, 1)[..., None]

        iris_radius = identity.iris_radius
        eye = np.broadcast_to(self._colour((0.80, 0.80, 0.82)), opening.shape + (self.channels,))
        eye = eye * (1 - 0.9 * np.clip(radius - 0.14, 0, 0.12))[..., None]
        iris = self._colour(identity.iris_colour) * (
            0.75 + 0.5 * np.clip(radius / iris_radius, 0, 1))[..., None]
        eye = eye + disc(iris_radius) * (iris * 0.55 - eye)
        eye = eye + disc(iris_radius * 0.85) * (iris - eye)
        eye = eye + disc(iris_radius * 0.42) * (0.02 - eye)
        lid_y = np.interp(x[0] * (-1, 1)[side], np.abs(upper[:, 0]), upper[:, 1])
        eye = eye * (1 - 0.5 * np.exp(-np.clip(y - lid_y[None, :], 0, 1) / 0.035))[..., None]
        self._blend(albedo, (region, opening), eye)
        lash = np.minimum(self.hair * 0.4, self._colour(identity.skin_colour) * 0.3)
        self._blend(albedo, canvas.stroke(upper, 0.028, 0.008), lash, 0.85)
        self._blend(albedo, canvas.stroke(lower, 0.018, 0.012),
                    self._colour(identity.skin_colour) * 0.5, 0.5)

    def _paint_nostrils(self, albedo, shape):
        base = shape.nose_base
        dark = self._colour(self.identity.skin_colour) * 0.18
        for a, b in ((0, 1), (4, 3)):
            x = 0.45 * base[a, 0] + 0.55 * base[b, 0]
            y = 0.4 * base[a, 1] + 0.6 * base[b, 1] - 0.04
            sign = np.sign(x)
            nostril = np.array([[x - 0.07 * sign, y + 0.01], [x, y - 0.03],
                                [x + 0.07 * sign, y - 0.005], [x + 0.02 * sign, y + 0.03]])
            self._blend(albedo, self.canvas.polygon(spline(nostril, 3, closed=True), 0.016),
                        dark, 0.85)

    def _paint_mouth(self, albedo, shape):
        identity, canvas = self.identity, self.canvas
        (outer_up, outer_low), (inner_up, inner_low) = shape.outer_lip, shape.inner_lip
        skin = self._colour(identity.skin_colour)
        red = np.array([0.52, 0.52, 0.86]) * np.asarray(identity.skin_colour)
        lip = skin + (0.35 + 0.65 * identity.lip_redness) * (self._colour(red) - skin)
        smooth = [spline(curve, 2) for curve in (outer_up, inner_up, inner_low, outer_low)]
        upper = canvas.polygon(np.concatenate([smooth[0], smooth[1][::-1]]), 0.014)
        lower = canvas.polygon(np.concatenate([smooth[2], smooth[3][::-1]]), 0.014)
        self._blend(albedo, upper, lip * 0.86)
        self._blend(albedo, lower, lip)
        gap = float((inner_low[:, 1] - inner_up[:, 1]).max())
        if gap > 0.015:
            opening = np.concatenate([smooth[1], smooth[2][::-1]])
            region, weight = canvas.polygon(opening, 0.008)
            inside = np.broadcast_to(self._colour((0.05, 0.045, 0.10)),
                                     weight.shape + (self.channels,)).copy()
            y, x = canvas.y[region[0]][:, None], canvas.x[region[1]][None, :]
            top = np.interp(x[0], smooth[1][:, 0], smooth[1][:, 1])[None, :]
            middle = self.identity.mouth_y
            edge = max(float(np.median(top)), float(top.min())) + 0.02
            teeth_low = min(edge + 0.12, middle + 0.06)
            teeth = np.clip((teeth_low - y) / 0.02, 0, 1) * np.clip(
                1.15 - (np.abs(x) / 0.42) ** 4, 0, 1)
            teeth *= 0.92 + 0.08 * np.cos(x * 2 * np.pi / 0.11)
            tooth = self._colour((0.66, 0.72, 0.76)) * np.clip(0.6 + (y - top) / 0.08, 0.6, 1)[
                ..., None]
            inside += teeth[..., None] * (tooth - inside)
            if gap > 0.25:
                bottom = float(inner_low[:, 1].max())
                tongue = np.exp(-(x / 0.26) ** 2 - ((y - bottom + 0.02) / (0.4 * gap)) ** 2)
                inside += tongue[..., None] * (self._colour((0.22, 0.22, 0.5)) - inside)
            self._blend(albedo, (region, weight), inside)
        else:
            self._blend(albedo, canvas.stroke(smooth[1], 0.026, 0.012), lip * 0.35, 0.9)
        return upper, lower

    def _paint_beard(self, albedo, shape):
        identity, canvas = self.identity, self.canvas
        drop = shape.jaw_drop
        if identity.beard or identity.stubble > 0.15:
            jaw = shape.jaw
            inner = np.array([[-0.88, 0.5], [-0.80, 0.85], [-0.5, 1.0 + 0.1 * drop],
                              [-0.2, 0.93], [0.2, 0.93], [0.5, 1.0 + 0.1 * drop],
                              [0.80, 0.85], [0.88, 0.5]])
            polygon = np.concatenate([jaw[1:16] * [1.0, 1.01], spline(inner[::-1], 4)])
            region, weight = canvas.polygon(polygon, 0.07)
            opacity = max(0.8 * identity.beard, 0.35 * identity.stubble)
            grain = self.fine_grain[region] if identity.beard else 1.0
            self._blend(albedo, (region, weight * grain), self.hair, opacity)
        if identity.moustache:
            outer_up = shape.outer_lip[0]
            nose_y = shape.nose_base[2, 1] + 0.03
            middle = outer_up[2:11]
            lifted = np.stack([middle[:, 0] * 1.12, np.maximum(
                middle[:, 1] - 0.13, nose_y)], 1)
            region, weight = canvas.polygon(
                np.concatenate([middle + [0, 0.02], lifted[::-1]]), 0.025)
            self._blend(albedo, (region, weight * self.fine_grain[region]), self.hair,
                        0.85 * identity.moustache)

    def _light(self, shape, albedo, lips, lids):
        canvas, setting, unit = self.canvas, self.setting, self.unit
        bumps = shape.bumps
        across = np.exp(-0.5 * ((canvas.x[None, :] - bumps[:, 0:1]) / bumps[:, 2:3]) ** 2)
        down = np.exp(-0.5 * ((canvas.y[:, None] - bumps[None, :, 1]) / bumps[None, :, 3]) ** 2)
        relief = self.skull + self.pores
        relief += (down * bumps[:, 4]) @ across
        for region, weight in lips:
            relief[region] += 0.035 * cv2.GaussianBlur(weight, (0, 0), 0.03 * unit)
        for region, weight in lids:
            relief[region] += 0.02 * weight
        crease = canvas.creases(shape.creases, 0.018)
        relief -= 0.045 * crease
        slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=unit / 8)
        slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=unit / 8)
        length = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
        facing = (self.light[2] - self.light[0] * slope_x - self.light[1] * slope_y) * length
        # Light wraps a little round the form, as it does on skin.
        diffuse = np.clip((facing + 0.25) / 1.25, 0, None)
        hollow = cv2.GaussianBlur(relief, (0, 0), 0.12 * unit) - relief
        occlusion = np.clip(1 - 1.6 * np.clip(hollow, 0, None), 0.45, 1)
        shade = (setting.ambient * (0.55 + 0.45 * length) + setting.key_light * diffuse)
        shade *= occlusion * (1 - 0.30 * crease)
        gloss = setting.key_light * 0.10 * np.clip(facing, 0, 1) ** 12
        return albedo * shade[..., None] + gloss[..., None]

    def _highlights(self, lit, shape):
        identity = self.identity
        for side in (LEFT, RIGHT):
            spot = np.array([(-1, 1)[side] * identity.eye_x + self.setting.gaze[0]
                             + 0.03 * np.sign(self.light[0]), -0.025 + self.setting.gaze[1]])
            ring = spot + 0.02 * np.stack([np.cos(np.arange(0, 6.2, 0.7)),
                                           np.sin(np.arange(0, 6.2, 0.7))], 1)
            self._blend(lit, self.canvas.polygon(ring, 0.006), 0.95, 0.8)

    def _draw_glasses(self, lit):
        identity, canvas = self.identity, self.canvas
        if identity.glasses == "none":
            return
        angle = np.linspace(0, 2 * np.pi, 33)
        power = 0.9 if identity.glasses == "round" else 0.5
        cos, sin = np.cos(angle), np.sin(angle)
        x = 0.38 * np.sign(cos) * np.abs(cos) ** power
        y = (0.31 if identity.glasses == "round" else 0.24) * np.sign(sin) * np.abs(sin) ** power
        frame = self._colour((0.12, 0.12, 0.14)) * (1.6 - identity.glasses_darkness)
        eye_x = identity.eye_x + 0.02
        curves = [np.stack([x + sign * eye_x, y + 0.06], 1) for sign in (-1, 1)]
        curves.append(np.array([[-eye_x + 0.37, 0.0], [0, -0.04], [eye_x - 0.37, 0.0]]))
        for sign in (-1, 1):
            curves.append(np.array([[sign * (eye_x + 0.37), -0.02],
                                    [sign * (identity.face_half_width + 0.02), -0.06]]))
        for curve in curves:
            self._blend(lit, canvas.stroke(curve, 0.035, 0.006), frame,
                        identity.glasses_darkness)

    def _photograph(self, lit, alpha, jitter, rng):
        setting, canvas = self.setting, self.canvas
        layers = np.concatenate([lit * alpha[..., None], alpha[..., None]], -1)
        to_canvas = jitter.copy()
        to_canvas[:, 2] -= canvas.origin
        to_canvas = (to_canvas * self.unit).astype(np.float32)
        map_x = to_canvas[0, 0] * self.map_x + to_canvas[0, 1] * self.map_y + to_canvas[0, 2]
        map_y = to_canvas[1, 0] * self.map_x + to_canvas[1, 1] * self.map_y + to_canvas[1, 2]
        head = cv2.remap(layers, map_x, map_y, cv2.INTER_LINEAR, borderValue=0)
        image = self.background * (1 - head[..., -1:]) + head[..., :-1]
        image = cv2.GaussianBlur(image, (0, 0), setting.blur * self.height / 240)
        image = image.reshape(self.height, self.width, self.channels)
        image = cv2.pow(np.clip(image * setting.exposure, 0.0, None), setting.gamma)
        image = image.reshape(self.height, self.width, self.channels)
        image += setting.noise * rng.standard_normal(image.shape, dtype=np.float32)
        image = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
        return image if self.channels == 3 else image[..., 0]
