#include "model/train.h"

#include "model/train_job.h"

namespace branchsae {

TrainResult train(const Device& device, const Graph& graph, const ImageSource& images,
                  const TrainOptions& options, const RunOrigin& origin, const TrainCallbacks& callbacks) {
  return model::TrainJob(device, graph, images, options, origin, callbacks).run();
}

}  // namespace branchsae
