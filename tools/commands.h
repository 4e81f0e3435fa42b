// Every subcommand, one function each; the table in main.cpp names them.
#pragma once
#include "tools/options.h"

namespace stflow {

/// Returns the exit code, or throws Error.
int bench(const Args& args);
int convert(const Args& args);
int doctor(const Args& args);
int eval(const Args& args);
int launch(const Args& args);
int embed(const Args& args);
int inspect(const Args& args);
int pretrain(const Args& args);
int predict(const Args& args);
int train(const Args& args);
int verify(const Args& args);

}  // namespace stflow
