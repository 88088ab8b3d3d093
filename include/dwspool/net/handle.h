// Ownership of libuv handles: a handle is closed by its owner and freed by its close callback,
// and nowhere else.
#pragma once

#include <memory>

#include <uv.h>

namespace dwspool::net {

template <class Handle>
struct UvClose {
  void operator()(Handle* handle) const noexcept {
    handle->data = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(handle),
             [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
  }
};

// Destroying it closes the handle; its callbacks find `data` null from then on, if they come at
// all. The memory lives until the loop has run once more.
template <class Handle>
using UvPtr = std::unique_ptr<Handle, UvClose<Handle>>;

}  // namespace dwspool::net
