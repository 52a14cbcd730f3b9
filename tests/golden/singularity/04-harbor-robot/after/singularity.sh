export SINGULARITY_DOCKER_USERNAME='robot$test_library+gpu_default'
export SINGULARITY_DOCKER_PASSWORD='S3cret'
export APPTAINER_DOCKER_USERNAME='robot$test_library+gpu_default'
export APPTAINER_DOCKER_PASSWORD='S3cret'
