//! Least squares on small problems: positive definite systems by Cholesky, with what rounding leaves of rank.

#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must fail the test, not pass it")]

/// Solution of a positive definite system.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// The solution.
    pub x: Vec<f64>,
    /// Diagonal of the inverse of the matrix.
    pub inverse_diagonal: Vec<f64>,
    /// Logarithms of the pivots: the first `k` sum to the log-determinant of the leading `k` by `k` block.
    pub log_pivots: Vec<f64>,
}

/// Solves `a x = b`, `a` symmetric positive definite, row-major; only its lower triangle is read.
///
/// `None` where the matrix is not positive definite to working precision (columns that are collinear).
pub fn solve_positive(a: &[f64], b: &[f64]) -> Option<Solved> {
    solve_positive_from(a, b, 0)
}

/// As [`solve_positive`], with the diagonal of the inverse only from element `from` on.
pub(crate) fn solve_positive_from(a: &[f64], b: &[f64], from: usize) -> Option<Solved> {
    let k = b.len();
    // Unit diagonal first: units of the regressors must not decide what counts as collinear.
    let scale: Vec<f64> = (0..k).map(|i| a[i * k + i].sqrt()).collect();
    if scale.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
        return None;
    }
    let mut l = vec![0.0; k * k];
    for i in 0..k {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|m| l[i * k + m] * l[j * k + m]).sum();
            let value = a[i * k + j] / (scale[i] * scale[j]) - sum;
            if i == j {
                if !(value > 1e-11) {
                    return None;
                }
                l[i * k + i] = value.sqrt();
            } else {
                l[i * k + j] = value / l[j * k + j];
            }
        }
    }
    let forward = |right: &mut [f64]| {
        for i in 0..k {
            let sum: f64 = (0..i).map(|j| l[i * k + j] * right[j]).sum();
            right[i] = (right[i] - sum) / l[i * k + i];
        }
    };
    let mut x: Vec<f64> = b.iter().zip(&scale).map(|(b, s)| b / s).collect();
    forward(&mut x);
    for i in (0..k).rev() {
        let sum: f64 = (i + 1..k).map(|j| l[j * k + i] * x[j]).sum();
        x[i] = (x[i] - sum) / l[i * k + i];
    }
    for (x, s) in x.iter_mut().zip(&scale) {
        *x /= s;
    }
    let mut inverse_diagonal = Vec::with_capacity(k);
    for (i, s) in scale.iter().enumerate().skip(from) {
        let mut unit = vec![0.0; k];
        unit[i] = 1.0;
        forward(&mut unit);
        inverse_diagonal.push(unit.iter().map(|v| v * v).sum::<f64>() / (s * s));
    }
    let log_pivots = (0..k).map(|i| 2.0 * (l[i * k + i] * scale[i]).ln()).collect();
    Some(Solved { x, inverse_diagonal, log_pivots })
}

/// Ordinary least squares of `y` on `columns` (each as long as `y`): coefficients and the sum of squared residuals.
pub fn least_squares(columns: &[Vec<f64>], y: &[f64]) -> Option<(Vec<f64>, f64)> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let k = columns.len();
    let mut normal = vec![0.0; k * k];
    for i in 0..k {
        for j in 0..=i {
            normal[i * k + j] = dot(&columns[i], &columns[j]);
        }
    }
    let right: Vec<f64> = columns.iter().map(|c| dot(c, y)).collect();
    let beta = if k == 0 { Vec::new() } else { solve_positive(&normal, &right)?.x };
    let rss = y
        .iter()
        .enumerate()
        .map(|(t, y)| {
            let fitted: f64 = columns.iter().zip(&beta).map(|(c, b)| c[t] * b).sum();
            (y - fitted) * (y - fitted)
        })
        .sum();
    Some((beta, rss))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_collinear_columns_are_refused() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 + 2.0 * x).collect();
        let (beta, rss) = least_squares(&[vec![1.0; 10], x.clone()], &y).unwrap();
        assert!((beta[0] - 3.0).abs() < 1e-10 && (beta[1] - 2.0).abs() < 1e-10 && rss < 1e-18);
        let double = x.iter().map(|x| 2.0 * x).collect();
        assert_eq!(least_squares(&[x, double], &y), None);
    }

    #[test]
    fn the_inverse_diagonal_is_that_of_the_inverse() {
        // [[4, 2], [2, 3]]: inverse [[3, -2], [-2, 4]] / 8.
        let solved = solve_positive(&[4.0, 2.0, 2.0, 3.0], &[8.0, 8.0]).unwrap();
        assert!((solved.x[0] - 1.0).abs() < 1e-14 && (solved.x[1] - 2.0).abs() < 1e-14);
        assert!((solved.inverse_diagonal[0] - 0.375).abs() < 1e-14);
        assert!((solved.inverse_diagonal[1] - 0.5).abs() < 1e-14);
        assert!((solved.log_pivots[0] - 4f64.ln()).abs() < 1e-14, "the leading block is 4");
        assert!((solved.log_pivots.iter().sum::<f64>() - 8f64.ln()).abs() < 1e-14, "the determinant is 8");
    }
}
