setenv SINGULARITY_DOCKER_USERNAME 'robot$test_library+gpu_default'
setenv SINGULARITY_DOCKER_PASSWORD 'S3cret'
setenv APPTAINER_DOCKER_USERNAME 'robot$test_library+gpu_default'
setenv APPTAINER_DOCKER_PASSWORD 'S3cret'
