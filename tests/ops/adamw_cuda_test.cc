// The update as a GPU decides and does it, against the CPU's.
#include <cmath>
#include <limits>

#include "kernels/adamw/adamw.h"
#include "kernels/common/op_check.h"
#include "kernels/grad_norm/grad_norm.h"
#include "tests/ops/on_gpu.h"
#include "tests/ops/tensor_list.h"

namespace adder {
namespace {

constexpr double kClip = 0.5;

// One list of parameters on both devices.
class CudaUpdate : public test::OnGpu {
  protected:
    void SetUp() override {
        OnGpu::SetUp();
        if (!gpu) return;
        uint32_t key = 0;
        for (const int64_t n : test::kListSizes) {
            for (int i = 0; i < 4; ++i) {
                host_memory.push_back(test::random_tensor(DType::f32, n, key++));
                if (i >= 2) host_memory.back().zero();
                memory.emplace_back(DType::f32, Shape{n}, Device::cuda, "a test");
                copy(host_memory.back(), memory.back());
            }
            copies.emplace_back(DType::bf16, Shape{n}, Device::cuda, "a test");
            const auto at = [](std::vector<Tensor>& from, size_t back) { return from[from.size() - back].ref(); };
            host.push_back({at(host_memory, 4), at(host_memory, 3), at(host_memory, 2), at(host_memory, 1), key % 8 == 0});
            device.push_back({at(memory, 4), at(memory, 3), at(memory, 2), at(memory, 1), key % 8 == 0, copies.back()});
            host.back().rate = device.back().rate = key % 8 == 0 ? 0.25 : 1;
            gradients.push_back(device.back().grad);
        }
        table = AdamWTable(device);
        norms = GradNormTable(gradients);
    }

    UpdateRecord step(double loss, double weight) {
        const std::vector<double> both = {loss, weight};
        const Tensor sums = test::on_gpu(DType::f64, {2}, both);
        AdamWArgs args;
        args.lr = std::numeric_limits<double>::quiet_NaN();  // not read
        grad_norm(ctx, norms, norm);
        begin_update(ctx, args, kClip, {sums, norm, state, record});
        adamw(ctx, table, args, state, record);
        gpu->synchronize();
        return test::struct_from_gpu<UpdateRecord>(record);
    }

    // What src/train does on the CPU.
    double host_step(double weight, int64_t update) {
        test::Session session(1);
        std::vector<TensorRef> grads;
        for (const AdamWTensor& t : host) grads.push_back(t.grad);
        const double size = std::sqrt(grad_norm(session.ctx, grads).sum_of_squares) / weight;
        AdamWArgs args;
        args.lr = kLr;
        args.step = update;
        args.grad_scale = (size > kClip ? kClip / size : 1) / weight;
        adamw(session.ctx, host, args);
        return size;
    }

    void expect_equal_parameters() {
        for (size_t i = 0; i < host.size(); ++i) {
            for (const auto& [mine, theirs] : {std::pair{device[i].param, host[i].param}, {device[i].m, host[i].m}}) {
                const std::vector<double> want = values_of(theirs);
                EXPECT_LT(errors_of(test::from_gpu(mine), want).peak, 3e-6) << i;
            }
            std::vector<double> rounded = test::from_gpu(device[i].param);
            for (double& x : rounded) x = rounded_to(DType::bf16, x);
            EXPECT_EQ(test::from_gpu(device[i].copy), rounded) << i;
        }
    }

    static constexpr double kLr = 0.01;
    std::vector<Tensor> host_memory, memory, copies;
    std::vector<AdamWTensor> host, device;
    std::vector<TensorRef> gradients;
    AdamWTable table;
    GradNormTable norms;
    Tensor norm = {}, state = {}, record = {};
};

TEST_F(CudaUpdate, equals_the_cpu_over_steps) {
    norm = test::struct_on_gpu(GradNorm{}), record = test::struct_on_gpu(UpdateRecord{});
    UpdateState start;
    start.lr = kLr;
    state = test::struct_on_gpu(start);
    for (int64_t update = 1; update <= 3; ++update) {
        const double weight = update == 2 ? 3000 : 100;  // the sum has a norm of about 330: the second step is not clipped
        const UpdateRecord r = step(7.5, weight);
        EXPECT_NEAR(r.grad_norm, host_step(weight, update), 1e-12 * r.grad_norm);
        EXPECT_EQ(r.loss, 7.5);
        EXPECT_EQ(r.weight, weight);
        EXPECT_EQ(r.updated, 1);
        EXPECT_EQ(r.updates, update);
        EXPECT_EQ(r.first_bad_gradient, -1);
        EXPECT_EQ(r.first_bad_parameter, -1);
    }
    expect_equal_parameters();
}

TEST_F(CudaUpdate, nothing_changes_without_a_counted_token_or_with_a_bad_gradient) {
    norm = test::struct_on_gpu(GradNorm{}), record = test::struct_on_gpu(UpdateRecord{});
    UpdateState start;
    start.lr = kLr;
    start.updates = 4;
    state = test::struct_on_gpu(start);
    const auto untouched = [&] {
        for (size_t i = 0; i < host.size(); ++i)
            if (test::from_gpu(device[i].param) != values_of(host[i].param)) return false;
        return true;
    };
    UpdateRecord r = step(0, 0);
    EXPECT_EQ(r.updated, 0);
    EXPECT_EQ(r.updates, 4);
    EXPECT_EQ(r.grad_norm, 0);
    EXPECT_EQ(r.first_bad_gradient, -1);
    EXPECT_TRUE(untouched());
    for (const size_t bad : {5u, 2u}) {
        std::vector<double> g = test::from_gpu(gradients[bad]);
        g[g.size() / 2] = bad == 5 ? std::nan("") : -std::numeric_limits<double>::infinity();
        const Tensor broken = test::on_gpu(DType::f32, gradients[bad].shape, g);
        copy(broken, gradients[bad]);
        r = step(1, 10);
        EXPECT_EQ(r.updated, 0);
        EXPECT_EQ(r.first_bad_gradient, static_cast<int64_t>(bad));
        EXPECT_FALSE(std::isfinite(r.grad_norm));
        EXPECT_TRUE(untouched());
    }
}

TEST_F(CudaUpdate, names_the_first_parameter_that_it_breaks) {
    norm = test::struct_on_gpu(GradNorm{}), record = test::struct_on_gpu(UpdateRecord{});
    UpdateState start;
    start.lr = kLr;
    state = test::struct_on_gpu(start);
    for (const size_t bad : {6u, 3u}) {
        const Tensor broken = test::on_gpu(
            DType::f32, device[bad].m.shape,
            std::vector<double>(static_cast<size_t>(device[bad].m.numel()), std::numeric_limits<double>::infinity()));
        copy(broken, device[bad].m);
        const UpdateRecord r = step(1, 10);
        EXPECT_EQ(r.updated, 1);
        EXPECT_EQ(r.first_bad_parameter, static_cast<int64_t>(bad));
    }
}

}  // namespace
}  // namespace adder
