// The context of products: how many threads, and the threads themselves, which wait between products.
#ifndef ZEROPOINT_GEMMLOWP_INTERNAL_CONTEXT_H_
#define ZEROPOINT_GEMMLOWP_INTERNAL_CONTEXT_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "../../../zeropoint.h"

namespace gemmlowp {
namespace zeropoint_internal {

// gemmlowp's functions have no way to say that something went wrong.
inline void check(zeropoint_status status) {
    if (status == ZEROPOINT_STATUS_OK) return;
    std::fprintf(stderr, "zeropoint: %s\n", zeropoint_last_error());
    std::abort();
}

// Workers of the calling thread. One run at a time.
class Pool {
public:
    Pool() = default;
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (std::thread &worker : workers_) worker.join();
    }

    // With fewer workers, if the system has no more threads: tasks are claimed, so that all are done anyway.
    void grow(std::size_t workers) {
        try {
            while (workers_.size() < workers) workers_.emplace_back(&Pool::serve, this, runs_);
        } catch (const std::system_error &) {
        }
    }

    // What `zeropoint_threads.run` does, with a pool as its context.
    static void run(void *context, std::size_t tasks, zeropoint_task perform, const void *task) {
        static_cast<Pool *>(context)->run(Job{perform, task, tasks});
    }

private:
    struct Job {
        zeropoint_task perform;
        const void *task;
        std::size_t tasks;
    };

    void run(const Job &job) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = job;
            next_ = 0;
            busy_ = workers_.size();
            runs_++;
        }
        wake_.notify_all();
        work(job);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
    }

    void work(const Job &job) {
        for (std::size_t i = next_++; i < job.tasks; i = next_++) job.perform(job.task, i);
    }

    // `seen` is the last run before this thread was made: the next may begin before it does.
    void serve(std::size_t seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return stop_ || runs_ != seen; });
            if (stop_) return;
            seen = runs_;
            const Job job = job_;
            lock.unlock();
            work(job);
            lock.lock();
            if (--busy_ == 0) done_.notify_one();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    std::atomic<std::size_t> next_{0};
    Job job_ = {nullptr, nullptr, 0};
    std::size_t busy_ = 0, runs_ = 0;
    bool stop_ = false;
};

struct Free {
    void operator()(zeropoint_gemm *gemm) const { zeropoint_gemm_free(gemm); }
    void operator()(zeropoint_workspace *workspace) const { zeropoint_workspace_free(workspace); }
};

} // namespace zeropoint_internal

// One product at a time. Sizes of caches may be told, and are not heeded.
class GemmContext {
public:
    // 0: as many as the machine has.
    void set_max_num_threads(int n) { max_num_threads_ = n; }
    int max_num_threads() const { return max_num_threads_; }

    void set_l1_bytes_to_use(int n) { l1_bytes_to_use_ = n; }
    void set_l2_bytes_to_use(int n) { l2_bytes_to_use_ = n; }
    void set_l2_rhs_factor(float n) { l2_rhs_factor_ = n; }
    int l1_bytes_to_use() const { return l1_bytes_to_use_; }
    int l2_bytes_to_use() const { return l2_bytes_to_use_; }
    float l2_rhs_factor() const { return l2_rhs_factor_; }

    // How many threads a product may use. Not of gemmlowp, as all that follows.
    std::size_t threads() const {
        // Asking the system takes longer than a small product: once.
        if (max_num_threads_ > 0) return static_cast<std::size_t>(max_num_threads_);
        static const unsigned all = std::thread::hardware_concurrency();
        return all > 0 ? all : 1;
    }

    // Threads to lend, workers of the caller's.
    zeropoint_threads lend() {
        pool_.grow(threads() - 1);
        zeropoint_threads threads = {};
        threads.size = sizeof threads;
        threads.threads = this->threads();
        threads.handover_ns = 10000;
        threads.context = &pool_;
        threads.run = zeropoint_internal::Pool::run;
        return threads;
    }

    // A workspace of at least so many bytes.
    zeropoint_workspace *workspace(std::size_t bytes) {
        if (!workspace_ || workspace_bytes_ < bytes) {
            zeropoint_workspace *workspace;
            zeropoint_internal::check(zeropoint_workspace_new(bytes, &workspace));
            workspace_.reset(workspace);
            workspace_bytes_ = bytes;
        }
        return workspace_.get();
    }

private:
    int max_num_threads_ = 1;
    int l1_bytes_to_use_ = 16 * 1024;
    int l2_bytes_to_use_ = 384 * 1024;
    float l2_rhs_factor_ = 0.75f;
    std::unique_ptr<zeropoint_workspace, zeropoint_internal::Free> workspace_;
    std::size_t workspace_bytes_ = 0;
    zeropoint_internal::Pool pool_;
};

} // namespace gemmlowp

#endif
