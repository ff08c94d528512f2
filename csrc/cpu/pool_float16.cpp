// Pooling of float16.
#include "pool_impl.h"

namespace tased {

template void pool<Half>(const PoolGeometry&, const PoolArgs&);
template void pool_unpool<Half>(const PoolGeometry&, const PoolUnpoolArgs&);

}  // namespace tased
