#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/stop.h"
#include "cli/declared.h"
#include "io/output.h"

namespace ds {

void die_by(int signal) noexcept {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
  _exit(128 + signal);
}

// The first signal asks for a clean end, the second one makes it. Async-signal-safe: atomics, unlink, sigaction, raise.
static void on_signal(int signal) {
  if (stop_signal.exchange(signal) == 0) return;
  remove_temporaries();
  die_by(signal);
}

void install_signals() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);  // writes fail with EPIPE, so that temporaries can be removed first
  struct sigaction handle {};
  handle.sa_handler = on_signal;
  sigemptyset(&handle.sa_mask);
  handle.sa_flags = 0;  // no SA_RESTART: a read that waits for input returns
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN)
      sigaction(signal, &handle, nullptr);  // nohup and background jobs stay as they are
  }
}

// A tool started with a closed standard descriptor must not get it for a data file: it is opened so that its use fails.
void reserve_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd)
    if (fcntl(fd, F_GETFD) == -1) (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

}  // namespace ds
