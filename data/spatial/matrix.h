// Matrices in HDF5 files, dense or compressed by rows or columns, as anndata and 10x Genomics store them. Used inside a child process.
#pragma once
#include <string>

#include "data/answer.h"
#include "data/hdf5_file.h"
#include "data/sparse_rows.h"

namespace stflow {

struct Matrix {
  SparseRows rows;
  int64_t columns = 0;
  int64_t twice = 0;  // values of a place that has several; they are added up
};

/// The datasets data, indices and indptr of `group`: a (rows, columns) matrix compressed by rows, or by columns. Indices of any integer
/// type and order. Throws Exit::data naming the row or column for an indptr that does not rise from 0 to the number of values, and for an
/// index beyond the matrix.
Matrix read_compressed(const Hdf5File& file, const std::string& path, const std::string& group, int64_t rows, int64_t columns,
                       bool by_rows);

/// A dense dataset (rows, columns), a few rows at a time.
Matrix read_dense(const Hdf5File& file, const std::string& name);

/// To and from the child's answer.
void append(std::string& answer, const Matrix& matrix);
Matrix take_matrix(Answer& answer);

}  // namespace stflow
