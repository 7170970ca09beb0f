"""Trains the Keras model in keras_digits.onnx: needs keras, tensorflow-cpu, tf2onnx and scikit-learn.

Run it in an environment of its own: ``python tests/data/keras_digits.py``. Rows 0 to 1,199 of scikit-learn's digits,
each enlarged to 16 by 16 pixels in three equal channels, values 0 to 255 in the channels-last layout of Keras.
"""

from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).parent


def main() -> None:
    """Train, export, and store what Keras itself answers for the other rows."""
    keras.utils.set_random_seed(0)
    found = load_digits()
    pixels = np.repeat(np.repeat(found.images * 255 / 16, 2, 1), 2, 2).round().astype("float32")
    x, y = np.repeat(pixels[..., None], 3, 3), found.target
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(12, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(24, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x[:1200], y[:1200], epochs=15, batch_size=32, verbose=0)
    model.export(HERE / "keras_digits.onnx", format="onnx", verbose=False)
    answers = model.predict(x[1200:], verbose=0)
    np.save(HERE / "keras_digits.npy", answers.astype(np.float32))
    print("accuracy", float((answers.argmax(1) == y[1200:]).mean()))


if __name__ == "__main__":
    main()
