"""Runs inside MediaPipe's own environment, by path: raw RGB frames on stdin, one fixed-size record per frame on stdout.

Arguments: width, height of the frames; width, height of the mask in the record, both 0 for frames that show a face and
nothing else. Imports nothing of this project: that environment has only MediaPipe. The parent imports this file for the
layout of a record (only the standard library and numpy are imported at the top).
"""

import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np

# Coordinates in pixels of the frame given. Sides are the person's own. A score of 0 marks what was not seen.
FACE = [("mesh", "<f4", (478, 2)), ("mesh_score", "<f4")]
AHEAD = 2  # frames whose first look is taken while an earlier one's second goes on
FIELDS = [
    ("faces", "<f4", (4, 5)),  # boxes x0 y0 x1 y1 of up to four faces, largest first, score
    *FACE,
    ("pose", "<f4", (33, 3)),  # x, y, visibility
    ("hands", "<f4", (2, 2, 21, 2)),  # left, right; by the holistic graph, by the hand detector on a crop
    ("hand_scores", "<f4", (2, 2)),
]


def record(mask_width: int, mask_height: int) -> np.dtype:
    """One frame's answer; without a mask, one frame's face."""
    if mask_width == 0:
        return np.dtype(FACE)
    return np.dtype([*FIELDS, ("mask", "u1", (mask_height, mask_width))])


class Trackers:
    """MediaPipe's graphs, with their state between frames."""

    def __init__(self, width: int, height: int) -> None:
        import mediapipe

        solutions = mediapipe.solutions
        self.size = np.array([width, height], np.float32)
        self.holistic = solutions.holistic.Holistic(
            model_complexity=1, refine_face_landmarks=True, enable_segmentation=True, smooth_segmentation=False
        )
        self.finder = solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=0.5)
        self.person = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
        self.hand = solutions.hands.Hands(
            static_image_mode=True, max_num_hands=2, model_complexity=1, min_detection_confidence=0.3
        )

    def look(self, image: np.ndarray) -> Any:
        """What follows from frame to frame."""
        return self.holistic.process(image)

    def record(self, image: np.ndarray, result: Any, answer: np.ndarray) -> None:
        """Fill in one record, by what `look` gave and by trackers that take each frame by itself."""
        self._faces(image, answer)
        if result.face_landmarks:
            answer["mesh"], answer["mesh_score"] = self._points(result.face_landmarks), 1.0
        if result.pose_landmarks:
            seen = [[p.visibility] for p in result.pose_landmarks.landmark]
            answer["pose"] = np.concatenate([self._points(result.pose_landmarks), seen], axis=1)
        for side, hand in enumerate((result.left_hand_landmarks, result.right_hand_landmarks)):
            if hand:
                answer["hands"][side, 0], answer["hand_scores"][side, 0] = self._points(hand), 1.0
        self._crops(image, answer)
        self._mask(image, result.segmentation_mask, answer)

    def _points(self, landmarks: Any) -> np.ndarray:
        return np.array([[p.x, p.y] for p in landmarks.landmark], np.float32) * self.size

    def _faces(self, image: np.ndarray, answer: np.ndarray) -> None:
        found = self.finder.process(image).detections or []
        # The nearest first: the one the clip is about.
        found = sorted(found, key=lambda face: -face.location_data.relative_bounding_box.height)
        for row, face in zip(answer["faces"], found, strict=False):
            box = face.location_data.relative_bounding_box
            low = np.array([box.xmin, box.ymin]) * self.size
            row[:] = [*low, *(low + np.array([box.width, box.height]) * self.size), face.score[0]]

    def _crops(self, image: np.ndarray, answer: np.ndarray) -> None:
        """The hand detector on a square round each wrist, where a hand is large enough to be found."""
        pose = answer["pose"]
        reach = 1.3 * max(float(np.linalg.norm(pose[a, :2] - pose[b, :2])) for a, b in ((11, 12), (13, 15), (14, 16)))
        for side, (elbow, wrist) in enumerate(((13, 15), (14, 16))):
            if pose[wrist, 2] < 0.1:
                continue
            centre = pose[wrist, :2] + 0.3 * (pose[wrist, :2] - pose[elbow, :2])
            if answer["hand_scores"][side, 0] > 0:
                centre = answer["hands"][side, 0].mean(axis=0)
            # A blurred or half hidden hand is often found at another scale.
            for scale in (1.0, 0.65, 1.5):
                points, score = self._hand(image, centre, scale * reach, pose[wrist, :2], reach / 3, side)
                if score > answer["hand_scores"][side, 1]:
                    answer["hands"][side, 1], answer["hand_scores"][side, 1] = points, score
                if score > 0.5:
                    break

    def _hand(
        self, image: np.ndarray, centre: np.ndarray, extent: float, wrist: np.ndarray, limit: float, side: int
    ) -> tuple[np.ndarray, float]:
        """The hand in this square whose wrist is nearest to the arm's, and its score; 0 where there is none."""
        chosen, chosen_score = np.zeros((21, 2), np.float32), 0.0
        low = np.maximum(centre - extent / 2, 0).astype(int)
        high = np.minimum(centre + extent / 2, self.size).astype(int)
        if (high - low).min() < 24:
            return chosen, chosen_score
        result = self.hand.process(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
        for hand, kind in zip(result.multi_hand_landmarks or [], result.multi_handedness or [], strict=True):
            points = np.array([[p.x, p.y] for p in hand.landmark], np.float32) * (high - low) + low
            label, score = kind.classification[0].label, kind.classification[0].score
            # The labels are meant for a mirrored picture.
            agrees = label == ("Right", "Left")[side]
            distance = float(np.linalg.norm(points[0] - wrist)) + (0 if agrees else 0.75 * limit)
            if distance < limit:
                limit, chosen, chosen_score = distance, points, score if agrees else 0.5 * (1 - score)
        return chosen, chosen_score

    def _mask(self, image: np.ndarray, of_pose: np.ndarray | None, answer: np.ndarray) -> None:
        """The pose's, which follows arms and hands best; round the head the portrait net's on a crop, best there."""
        import cv2

        mask = self.person.process(image).segmentation_mask if of_pose is None else of_pose
        if answer["faces"][0, 4] > 0:
            mask = mask.copy()
            x0, y0, x1, y1 = self._round_head(answer["faces"][0, :4])
            crop = self.person.process(np.ascontiguousarray(image[y0:y1, x0:x1])).segmentation_mask
            weight = _fade(x0, x1, image.shape[1]) * _fade(y0, y1, image.shape[0])[:, None]
            mask[y0:y1, x0:x1] += weight * (crop - mask[y0:y1, x0:x1])
        height, width = answer["mask"].shape
        small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        answer["mask"] = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)

    def _round_head(self, box: np.ndarray) -> list[int]:
        centre, half = (box[:2] + box[2:]) / 2, 1.4 * (box[2] - box[0])
        low, high = np.maximum(centre - half, 0), np.minimum(centre + half, self.size)
        return [int(low[0]), int(low[1]), int(high[0]), int(high[1])]


def _fade(start: int, stop: int, end: int) -> np.ndarray:
    """1 inside, falling to 0 at those ends that are not the picture's."""
    place = (np.arange(stop - start, dtype=np.float32) + 0.5) / (stop - start)
    rise = 1.0 if start == 0 else np.clip(place / 0.15, 0, 1)
    return rise * (1.0 if stop == end else np.clip((1 - place) / 0.15, 0, 1)) * np.ones_like(place)


class FaceTracker:
    """The face mesh alone, for crops round one face."""

    def __init__(self, width: int, height: int) -> None:
        import mediapipe

        self.size = np.array([width, height], np.float32)
        self.mesh = mediapipe.solutions.face_mesh.FaceMesh(refine_landmarks=True, max_num_faces=1)

    def look(self, image: np.ndarray) -> Any:
        """See `Trackers`."""
        return self.mesh.process(image)

    def record(self, image: np.ndarray, result: Any, answer: np.ndarray) -> None:
        """See `Trackers`."""
        for face in result.multi_face_landmarks or []:
            answer["mesh"] = np.array([[p.x, p.y] for p in face.landmark], np.float32) * self.size
            answer["mesh_score"] = 1.0


def serve(source: BinaryIO, sink: BinaryIO, size: tuple[int, int], mask: tuple[int, int]) -> None:
    """Answer frame after frame until the source ends. The first look at the next ones is taken meanwhile."""
    width, height = size
    trackers = Trackers(width, height) if mask[0] else FaceTracker(width, height)
    layout = record(*mask)
    begun: deque[tuple[np.ndarray, Future[Any]]] = deque()

    def answer_first() -> None:
        image, looked = begun.popleft()
        answer = np.zeros((), layout)
        trackers.record(image, looked.result(), answer)
        sink.write(answer.tobytes())
        sink.flush()

    with ThreadPoolExecutor(1) as pool:
        while frame := source.read(width * height * 3):
            image = np.frombuffer(frame, np.uint8).reshape(height, width, 3)
            begun.append((image, pool.submit(trackers.look, image)))
            if len(begun) > AHEAD:
                answer_first()
        while begun:
            answer_first()


if __name__ == "__main__":
    # What a library prints must not come between the records.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    numbers = [int(word) for word in sys.argv[1:5]]
    serve(sys.stdin.buffer, answers, (numbers[0], numbers[1]), (numbers[2], numbers[3]))
