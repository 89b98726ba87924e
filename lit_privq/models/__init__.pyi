from .densenet import densenet121 as densenet121
from .mlp import perceptron as perceptron
from .resnet import resnet18 as resnet18
from .resnet import resnet50 as resnet50
from .small import small_resnet as small_resnet
