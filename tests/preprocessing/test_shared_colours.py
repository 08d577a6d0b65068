"""Colours of the person, of the background, of both."""

import numpy as np

from talkingavatar.preprocessing.shared_colours import shared_colours


def test_a_stripe_of_the_shirt_has_the_colour_of_both_and_hair_only_of_one():
    image = np.ones((40, 40, 3), np.float32)  # a white wall, a shirt striped blue and white below
    image[20:] = [0.1, 0.1, 0.5]
    image[22:24] = image[30:33] = 1
    image[20, 10] = 0.1  # a black hair before it
    labels = np.full((40, 40), 1, np.uint8)
    labels[:15], labels[27:] = 0, 2
    nothing = np.zeros((40, 40), bool)
    of_subject, of_ground = shared_colours(image, labels, np.zeros_like(image), nothing, 30)
    assert of_subject[22, 20] > 0.99 and of_ground[22, 20] > 0.99
    assert of_subject[25, 20] > 0.99 and of_ground[25, 20] < 0.01
    assert of_subject[20, 10] < 0.1 and of_ground[20, 10] < 0.01
    # Where the plate is known it is the background, whatever is near by.
    _, of_plate = shared_colours(image, labels, np.zeros_like(image), ~nothing, 30)
    assert of_plate[22, 20] < 0.01
    assert (of_subject[labels != 1] == 0).all()
