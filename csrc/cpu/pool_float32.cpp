// Pooling of float32.
#include "pool_impl.h"

namespace tased {

template void pool<float>(const PoolGeometry&, const PoolArgs&);
template void pool_unpool<float>(const PoolGeometry&, const PoolUnpoolArgs&);

}  // namespace tased
