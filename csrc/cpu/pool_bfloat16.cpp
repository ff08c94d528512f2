// Pooling of bfloat16.
#include "pool_impl.h"

namespace tased {

template void pool<BFloat16>(const PoolGeometry&, const PoolArgs&);
template void pool_unpool<BFloat16>(const PoolGeometry&, const PoolUnpoolArgs&);

}  // namespace tased
