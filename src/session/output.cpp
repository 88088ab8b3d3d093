#include "dwspool/session/output.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

namespace dwspool::session {

void Output::count_answers(std::string_view bytes, bool told) {
  const auto correct = [told](std::uint32_t& count) {
    if (told) {
      ++count;
    } else if (count > 0) {
      --count;
    }
  };
  while (true) {
    const wire::FrameView view = wire::peek_frame(bytes);
    if (view.status != wire::FrameStatus::complete) return;  // none of these comes in pieces
    const wire::Frame frame = wire::take_frame(bytes, view);
    if (frame.type == wire::backend::error_response) {
      correct(errors);
    } else if (frame.type == wire::backend::ready_for_query) {
      correct(queries);
      if (frame.body() == "I") correct(transactions);
    }
  }
}

}  // namespace dwspool::session
