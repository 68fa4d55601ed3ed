"""
`accelerate launch … cpu_fsdp.py OPTIONS`: a fine-tuning that FSDP shards over processes on CPUs.

accelerate 1.15 turns to FSDP only for the kinds of processes that it lists in `AcceleratorState`, and those on CPUs
(MULTI_CPU) are not among them. Here they are called MULTI_GPU; what is wrapped, trained and saved is the real thing.
"""

import sys

from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule

from soundclip_hf.training.finetuning import run
from soundclip_hf.training.finetuning.arguments import read_arguments


class ShardedTrainer(run.FinetuningTrainer):
    def train(self, *args, **kwargs):
        output = super().train(*args, **kwargs)
        sharded = {
            type(module).__mro__[2].__name__ for module in self.model.modules() if isinstance(module, FSDPModule)
        }
        if self.args.process_index == 0:
            print("sharded:", *sorted(sharded), file=sys.stderr)
        return output


if __name__ == "__main__":
    settings, training = read_arguments(sys.argv[1:])
    training.distributed_state.distributed_type = DistributedType.MULTI_GPU
    run.FinetuningTrainer = ShardedTrainer
    run.finetune(settings, training)
