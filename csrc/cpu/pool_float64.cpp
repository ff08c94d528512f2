// Pooling of float64.
#include "pool_impl.h"

namespace tased {

template void pool<double>(const PoolGeometry&, const PoolArgs&);
template void pool_unpool<double>(const PoolGeometry&, const PoolUnpoolArgs&);

}  // namespace tased
