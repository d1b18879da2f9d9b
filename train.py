"""Train a codec from a config: python train.py fit --config configs/audio/quickstart_speech.yaml"""

from neuralcodecs.cli import train

if __name__ == "__main__":
    train()
