"""Full-body motion alignment: body, camera and motion fitted to a clip's 2D keypoints (THGS eqs 16-17)."""
