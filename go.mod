module github.com/jobward/jobward

go 1.26
