// Kernels with one fault each, and their correct twins: what the emulator has to tell apart. All on 64 threads.
#pragma once

namespace stflow::test {

/// y (64) = 63 ... 0 through shared memory, `sync` with the barrier that this needs.
void reversed(float* y, bool sync);
/// y (64): twice the block's sum of 0 ... 63 less its sum of twice that, which is 0; without `sync` the second sum overtakes the first.
void two_sums(float* y, bool sync);
/// y (64) = 0 where sums and maxima over a block that follow one another at once are right, else another number.
void reduced(float* y);
/// y[0] = the number of one of `blocks` blocks, whichever came last.
void raced(float* y, int blocks);
/// Threads from `n` on return before a barrier.
void early_return(float* y, int n);
/// Lanes from `n` on leave out a warp operation.
void partial_warp(float* y, int n);
/// Shared memory of 64 numbers, written up to `n`.
void shared_overflow(float* y, int n);
/// Writes y[0 .. n).
void device_overflow(float* y, int n);
/// y (64) = x (64).
void copied(const float* x, float* y);
/// y (64): element i counts the threads with a smaller number, from a ballot a bit and shuffles within the warp.
void counted(int* y);
/// A block of `threads`.
void shaped(float* y, int threads);

}  // namespace stflow::test
